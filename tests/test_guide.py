"""docs/guide.md works as it stands: its files are written, its programs and commands run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from cli.command import CALLBOARD, DEADLINE_S, Commands, environment

GUIDE = (Path(__file__).parent.parent / "docs" / "guide.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:50051"
"""The host's address on the page, a default; tests have one of their own."""

LOCAL = "try_shop.py"


BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL
)
"""The fenced blocks, each with its language."""


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for each, text in BLOCKS if each == language]


def name_of(program: str) -> str:
    """The name of a file, which stands in its first line."""
    return program.splitlines()[0].removeprefix("# ")


FILES = {name_of(block): block for block in blocks("python")}

OUTPUTS = {
    name_of(block): output
    for (language, block), (following, output) in pairwise(BLOCKS)
    if (language, following) == ("python", "text")
}
"""What programs print: the block of text after each."""

WORKERS = [line for block in blocks("sh") for line in block.splitlines() if " worker " in line]
COMMANDS = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", blocks("console")[0], re.MULTILINE)
"""Commands with what they print."""


@dataclass(frozen=True)
class Project:
    """A folder with the files of the page, and a host with its workers."""

    folder: Path
    address: str

    def run(self, *command: str) -> str:
        """Run a command in the folder; what it prints. It has to succeed without a complaint."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment({"CALLBOARD_HOST": self.address}),
            capture_output=True,
            check=False,
            text=True,
            timeout=DEADLINE_S,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def write_files(folder: Path, address: str) -> None:
    """Write what the page shows, with another address."""
    for name, text in FILES.items():
        (folder / name).write_text(text.replace(ADDRESS, address), encoding="utf-8")
    (folder / "events.jsonl").write_text(blocks("json")[0], encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The page's files, and its host and workers, each a process."""
    commands = Commands()
    try:
        _, address = commands.host()
        write_files(tmp_path, address)
        for line in WORKERS:
            program, _, *targets = shlex.split(line)
            assert program == "callboard"
            worker = commands.start("worker", "--host", address, *targets, cwd=tmp_path)
            worker.line("ready")
        yield Project(tmp_path, address)
    finally:
        commands.kill()


def test_the_page_has_what_is_tested_here() -> None:
    """Nothing is passed over because it was written in another way."""
    assert FILES.keys() - OUTPUTS.keys() == {"shop.py"}
    assert len(WORKERS) == 2
    assert len(COMMANDS) == 4


def test_the_agents_run_in_one_process(tmp_path: Path) -> None:
    """The program with a LocalRuntime prints what the page says."""
    write_files(tmp_path, "nowhere")

    printed = Project(tmp_path, "nowhere").run(sys.executable, "-W", "error", LOCAL)

    assert printed == OUTPUTS[LOCAL]


def test_the_programs_and_commands_run_against_a_host(project: Project) -> None:
    """Every program and command prints what the page says, with the workers that it starts."""
    for name, output in OUTPUTS.items():
        if name != LOCAL:
            assert project.run(sys.executable, "-W", "error", name) == output, name
    for line, output in COMMANDS:
        program, *arguments = shlex.split(line)
        assert program == "callboard"
        printed = project.run(CALLBOARD, *arguments)
        if arguments == ["status"]:
            check_status(printed)
        else:
            assert printed == output, line


def check_status(printed: str) -> None:
    """Each column, and each counter, of ``callboard status`` is on the page in its order."""
    types, sessions, counters = (
        re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
        for table in re.findall(
            r"^\| (?:column|counter) \| \|\n(.*?)\n\n", GUIDE, re.MULTILINE | re.DOTALL
        )
    )
    lines = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]
    after = {line[0]: at + 1 for at, line in enumerate(lines)}
    assert lines[after["agent types"]] == types
    assert lines[after["sessions"]] == sessions
    # The heading and the rule below it come before the first.
    assert [line[0] for line in lines[after["since it started"] + 2 :] if line[0]] == counters
