"""The digest sample: its agents in one process, and its driver's rules."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from callboard import AgentId, TopicId
from callboard.local import LocalRuntime
from callboard_samples.command import SampleFailed
from callboard_samples.digest import agents, setup
from callboard_samples.digest.driver import Report, check_workers, make_digest, read_folder
from callboard_samples.digest.report import show

FILES = {
    "docs/boats.md": "# Boats\n\nBoats carry people over water. A boat has a keel.\n",
    "docs/[trains].md": "Trains carry people over land on rails made of steel.\n",
    "docs/code.md": "```\nprint()\n```\n",
}


def _summary(name: str, worker: str) -> agents.Summary:
    return agents.Summary(name, name, ["It says something."], worker, 0.001)


def _report(*summaries: agents.Summary) -> Report:
    collator = AgentId(agents.COLLATOR, "run")
    return Report(collator, agents.Digest("one", list(summaries)), 0.01, 0.02)


async def test_every_file_is_summarised_by_an_agent_of_its_own() -> None:
    """The digest has the files in the order given; one without prose has no sentences."""
    async with LocalRuntime() as runtime:
        await setup(runtime)
        report = await make_digest(runtime, FILES)
        await runtime.stop_when_idle()
        dead_letters = await runtime.dead_letters()

    assert [summary.name for summary in report.digest.summaries] == list(FILES)
    assert [summary.title for summary in report.digest.summaries] == [
        "Boats",
        "docs/[trains].md",
        "docs/code.md",
    ]
    assert [summary.sentences for summary in report.digest.summaries] == [
        ["Boats carry people over water.", "A boat has a keel."],
        ["Trains carry people over land on rails made of steel."],
        [],
    ]
    assert list(report.places) == [
        "summariser/docs/boats.md",
        "summariser/docs/[trains].md",
        "summariser/docs/code.md",
        str(report.collator),
    ]
    assert not dead_letters


async def test_a_second_run_starts_afresh() -> None:
    """Each run has a collator of its own."""
    async with LocalRuntime() as runtime:
        await setup(runtime)
        first = await make_digest(runtime, FILES)
        second = await make_digest(runtime, {"a.md": FILES["docs/boats.md"]})

    assert first.collator != second.collator
    assert [summary.name for summary in second.digest.summaries] == ["a.md"]


async def test_what_is_missing_at_the_deadline_is_named() -> None:
    """With nobody to summarise, the digest does not wait for ever."""
    async with LocalRuntime() as runtime:
        await agents.Collator.register(runtime, agents.COLLATOR, lambda: agents.Collator("here"))
        with pytest.raises(
            SampleFailed, match=r"2 of 2 files were not .* within 0.1 s: a.md, b.md"
        ):
            await make_digest(runtime, {"a.md": "A.", "b.md": "B."}, deadline_s=0.1)


async def test_a_summary_that_comes_twice_changes_nothing() -> None:
    """Events may be delivered more than once."""
    collator = AgentId(agents.COLLATOR, "run")
    async with LocalRuntime() as runtime:
        await setup(runtime)
        await runtime.send_message(agents.Expect(["a.md", "b.md"]), collator)
        for name in ("a.md", "a.md", "b.md"):
            topic = TopicId(agents.SUMMARY_TOPIC, "run")
            await runtime.publish_message(_summary(name, "one"), topic)
        await runtime.stop_when_idle()
        instance = await runtime.try_get_underlying_agent_instance(collator, agents.Collator)

    assert [summary.name for summary in instance._collected().summaries] == ["a.md", "b.md"]


def test_texts_are_found_below_the_folder_and_named_from_where_it_is(tmp_path: Path) -> None:
    """Text and Markdown in any depth, sorted; hidden, empty and other files are left out."""
    folder = tmp_path / "notes"
    for name in ("b.md", "a/deep.TXT", "c.markdown", ".git/x.md", "d.py", "e.md"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name == "e.md" else "Some text.")

    assert list(read_folder(folder)) == ["notes/a/deep.TXT", "notes/b.md", "notes/c.markdown"]


def test_by_default_it_reads_docs_and_the_readme_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both where the program is run."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("Docs.")
    (tmp_path / "README.md").write_text("Readme.")
    monkeypatch.chdir(tmp_path)

    assert read_folder(None) == {"README.md": "Readme.", "docs/a.md": "Docs."}


def test_no_folder_and_an_empty_one_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each error says what to do."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SampleFailed, match=r"there is no folder docs: name one .* with --folder"):
        read_folder(None)
    with pytest.raises(SampleFailed, match=r"there is no .*\.md .* file with text in"):
        read_folder(tmp_path)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    """It is not skipped in silence."""
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))

    with pytest.raises(SampleFailed, match=r"cannot read .*latin\.txt as UTF-8"):
        read_folder(tmp_path)


async def test_a_file_that_cannot_be_published_is_named() -> None:
    """An agent's key has at most 256 bytes."""
    async with LocalRuntime() as runtime:
        await setup(runtime)
        with pytest.raises(SampleFailed, match=r"cannot publish xxx.*the limit is 256"):
            await make_digest(runtime, {"x" * 300: "Text."})


def test_two_workers_have_to_have_summarised() -> None:
    """Otherwise the error says why they may not have."""
    check_workers(_report(_summary("a", "one"), _summary("b", "two")), 2)

    with pytest.raises(SampleFailed, match="2 files were summarised by one alone"):
        check_workers(_report(_summary("a", "one"), _summary("b", "one")), 2)
    with pytest.raises(SampleFailed, match="1 file cannot keep 2 workers busy"):
        check_workers(_report(_summary("a", "one")), 2)


def test_the_report_shows_text_as_it_is() -> None:
    """What looks like rich's markup in a file is none."""
    output = StringIO()
    console = Console(file=output, width=100)
    summary = agents.Summary(
        "[red]a.md", "[bold]T", ["Use [red] lamps [/red] here."], "one", 0.0125
    )

    show(_report(summary), console)

    printed = output.getvalue()
    assert "[bold]T  [red]a.md" in printed
    assert " - Use [red] lamps [/red] here." in printed
    assert "summariser/[red]a.md  one" in printed
    assert "12.5 ms" in printed
    assert "1 file on 1 worker: published in 10.0 ms, digest after 20.0 ms" in printed
