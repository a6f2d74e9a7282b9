"""What each engine does, and what those do that outlive their host."""

from __future__ import annotations

import asyncio

import pytest

from callboard.core.backlogs import PageRequest
from callboard.core.commit import Commit, DeadLetter
from callboard.core.dead_letters import Selection
from callboard.core.event import Event, TraceContext
from callboard.core.kept import KeptOrigin, KeptSession, KeptType
from callboard.core.origins import Origin
from callboard.core.queues import AgentQueue
from callboard.core.session import Session
from callboard.engine import contract, memory
from callboard.engine.contract import Engine
from engine.commits import (
    AGENT,
    EVENT,
    all_waiting,
    append,
    bury,
    deliveries_of,
    event,
    keep,
    positions_of,
    taken,
    told,
)
from engine.conftest import Place

TWO = (("a", "x"), ("b", "x"))
QUEUE = AgentQueue(AGENT, 0)


async def test_positions_rise_and_are_never_reused(engine: Engine) -> None:
    """One for each target, in order, over commits."""
    first = await engine.commit(Commit(appends=[append(1, *TWO), append(2), append(3, AGENT)]))
    second = await engine.commit(Commit(removed=[3]))
    third = await engine.commit(Commit(appends=[append(4, AGENT)]))

    assert (list(first), list(second), list(third)) == ([1, 2, 3], [], [4])


async def test_a_dead_letter_is_replayed_or_dropped_once(engine: Engine) -> None:
    """The first that a commit names has it; positions go on rising, for replays as for appends."""
    one, two, three = await bury(engine, *[("a", "unhandled", "")] * 3)
    (nine,) = await keep(engine, AGENT)
    gone = DeadLetter(nine, "unhandled", "", 0.0)

    commit = taken([two, two, gone], [2, 1, 1])
    commit.appends.append(append(2, AGENT))

    assert list(await engine.commit(commit)) == [5, 6, 0, 0, 0, 1, 0]
    assert positions_of(await engine.dead_letters()) == [3]
    assert list(await engine.commit(taken([three], []))) == [7]
    assert list(await engine.dead_letters()) == []
    assert one.delivery.position == 1


async def test_dead_letters_are_read_in_pages(engine: Engine) -> None:
    """By position, from either end, beyond one that is there no more; of one type or reason."""
    letters = await bury(
        engine,
        *(("a", "unhandled", ""), ("b", "invalid", ""), ("a", "invalid", "")),
        *(("a", "unhandled", "why"), ("b", "unhandled", "")),
    )
    await engine.commit(taken([], [3]))

    async def page(
        selection: Selection, beyond: int = 0, *, newest_first: bool = False
    ) -> list[int]:
        letters = await engine.dead_letters(
            selection, beyond=beyond, limit=2, newest_first=newest_first
        )
        return positions_of(letters)

    assert await page(Selection()) == [1, 2]
    assert await page(Selection(), beyond=2) == [4, 5]
    assert await page(Selection(), beyond=3) == [4, 5]
    assert await page(Selection(), beyond=5) == []
    assert await page(Selection(), beyond=2**64 - 1) == []
    assert await page(Selection(), newest_first=True) == [5, 4]
    assert await page(Selection(), newest_first=True, beyond=3) == [2, 1]
    assert await page(Selection(agent_type="b")) == [2, 5]
    assert await page(Selection(reason="invalid")) == [2]
    assert await page(Selection("a", "invalid")) == []
    letter = await engine.dead_letter(4)
    assert letter is not None
    assert letter[1:3] == letters[3][1:3]
    assert told([letter.delivery]) == told([letters[3].delivery])
    assert await engine.dead_letter(3) is None
    assert await engine.dead_letter(2**64 - 1) is None


async def test_a_page_of_large_events_is_short(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are bounded, but one event fits in any case."""
    size = len(EVENT.content)
    for module in (contract, memory):
        monkeypatch.setattr(module, "PAGE_BYTES", size * 2 + 4)
    large = "x" * (size * 3)
    await bury(engine, *[("a", "unhandled", each) for each in ("", "", large, "")])

    async def page(beyond: int) -> list[int]:
        return positions_of(await engine.dead_letters(beyond=beyond, limit=10))

    assert [await page(beyond) for beyond in (0, 2, 3, 4)] == [[1, 2], [3], [4], []]


# Those that outlive their host.


async def test_what_is_behind_is_left_to_the_engine(place: Place) -> None:
    """The next host finds it counted by agent, in pages; what is at hand it finds as ever."""
    await keep(place.engine, *TWO)
    for number, agents in enumerate((TWO, TWO[:1], (("a", "y"),), TWO[:1])):
        behind = append(number, *agents)
        behind.behind = dict.fromkeys(agents, QUEUE)
        await place.engine.commit(Commit(appends=[behind]))
    mixed = append(9, *TWO)
    mixed.behind = {TWO[1]: QUEUE}
    await place.engine.commit(Commit(appends=[mixed]))

    await place.reopen()

    assert [each.position for each in await all_waiting(place.engine)] == [1, 2, 8]
    size = len(EVENT.content)
    found = [*await place.engine.backlogs(limit=2)]
    found += await place.engine.backlogs(beyond=found[-1].agent, limit=2)
    assert [(each.agent, each.count, each.bytes, each.first_position) for each in found] == [
        (("a", "x"), 3, 3 * size, 3),
        (("a", "y"), 1, size, 6),
        (("b", "x"), 2, 2 * size, 4),
    ]
    assert await place.engine.backlogs(beyond=("b", "x")) == []


async def test_what_is_behind_is_read_in_pages(place: Place) -> None:
    """For several agents at once, in order, what comes after a position; nothing changes by it."""
    events = [event(str(number)) for number in range(4)]
    for each in events:
        behind = append(1, *TWO, event=each)
        behind.behind = dict.fromkeys(TWO, QUEUE)
        await place.engine.commit(Commit(appends=[behind]))
    await place.reopen()

    a, b = AgentQueue(TWO[0], 0), AgentQueue(TWO[1], 0)
    requests = [PageRequest(a, 0, 2), PageRequest(b, 4, 9), PageRequest(b, 8, 9)]
    for _ in range(2):
        pages = await place.engine.pages(requests)
        assert [[each.position for each in page] for page in pages] == [[1, 3], [6, 8], []]
        assert [each.event.content for page in pages for each in page] == [
            each.content for each in (*events[:2], *events[2:])
        ]
        assert {(each.agent, each.attempt, each.grant) for each in pages[0]} == {(TWO[0], 0, None)}


async def test_what_is_behind_for_odd_keys_is_read_for_them_alone(place: Place) -> None:
    """Whatever stands in a key, and before a NUL in it."""
    keys = ["\0", "\x1f", " ", "'\"", "1", "1.0", "\\u0000", "a", "a\0b", "null", "{", "\U0001f600"]
    queues = [AgentQueue(("a", key), 0) for key in keys]
    for number, queue in enumerate(queues):
        behind = append(number, queue.agent)
        behind.behind = {queue.agent: queue}
        await place.engine.commit(Commit(appends=[behind]))
    await place.reopen()

    found: list[str] = []
    while page := await place.engine.backlogs(beyond=("a", found[-1]) if found else None):
        found += [each.agent[1] for each in page]
    assert found == keys
    pages = await place.engine.pages([PageRequest(queue, 0, 9) for queue in queues])
    assert [[each.agent[1] for each in page] for page in pages] == [[key] for key in keys]


async def test_what_was_behind_is_at_hand_for_the_next_host(place: Place) -> None:
    """As soon as a commit says so, and not before."""
    behind = append(1, *TWO)
    behind.behind = dict.fromkeys(TWO, QUEUE)
    await place.engine.commit(Commit(appends=[behind]))
    await place.engine.commit(Commit(at_hand=[2]))

    await place.reopen()

    assert [each.position for each in await all_waiting(place.engine)] == [2]
    assert [each.agent for each in await place.engine.backlogs()] == [TWO[0]]
    request = PageRequest(AgentQueue(TWO[1], 0), 0, 9)
    assert await place.engine.pages([request]) == [[]]


async def test_a_dead_letter_may_come_back_behind(place: Place) -> None:
    """Its new delivery waits in the engine alone."""
    (letter,) = await bury(place.engine, ("a", "unhandled", ""))
    commit = taken([letter], [])
    commit.replays[0].behind = QUEUE
    assert list(await place.engine.commit(commit)) == [2]

    await place.reopen()

    assert await all_waiting(place.engine) == []
    (page,) = await place.engine.pages([PageRequest(AgentQueue(AGENT, 0), 0, 9)])
    assert [each.position for each in page] == [2]


async def test_events_are_found_as_they_were(place: Place) -> None:
    """With whom they are for and all they bring, in order, and no attempt."""
    odd = Event(
        EVENT.content + b"\x00\xff",
        "t\0",
        "ключ\0x",
        ("sender", "k\0"),
        TraceContext("00-a", "b=c"),
    )
    commit = Commit(
        appends=[append(1, *TWO), append(2), append(3, ("ö", "\0" * 3), event=odd)]
        + [append(number, AGENT, event=event(str(number))) for number in range(4, 9)]
    )
    deliveries = deliveries_of(commit, await place.engine.commit(commit))
    deliveries[3].attempt = 7

    await place.reopen()
    found = await all_waiting(place.engine)

    deliveries[3].attempt = 0
    assert told(found) == told(deliveries)
    assert found[0].event is found[1].event
    assert [each.position for each in await place.engine.waiting(beyond=2, limit=1)] == [3]
    assert list(await place.engine.waiting(beyond=2**64 - 1)) == []


async def test_an_event_is_kept_until_it_is_settled(place: Place) -> None:
    """Accepted ones are gone, dead ones are dead letters, the others wait with what befell them."""
    one, two, three, four = await keep(place.engine, *TWO, ("c", "x"), ("d", "x"))
    two.failed_turns, two.losses = 3, 1
    three.attempt, three.failed_turns = 5, 4
    await place.engine.commit(
        Commit(
            removed=[one.position],
            changed=[two],
            dead=[DeadLetter(three, "unhandled", "ValueError: \0 ü", 0.0)],
        )
    )

    await place.reopen()

    assert told(await all_waiting(place.engine)) == told([two, four])
    (letter,) = await place.engine.dead_letters()
    assert letter[1:3] == ("unhandled", "ValueError: \0 ü")
    assert letter.delivery.attempt == 5
    assert letter.delivery.agent == ("c", "x")
    assert letter.delivery.event.content == EVENT.content


async def test_what_is_replayed_waits_and_what_is_dropped_is_gone(place: Place) -> None:
    """A replay is found once, under its new position, as if it had never been tried."""
    one, two = await bury(place.engine, ("a", "unhandled", ""), ("b", "unhandled", ""))
    one.delivery.attempt = 3
    assert list(await place.engine.commit(taken([one], [2]))) == [3, 2]

    await place.reopen()

    (found,) = await all_waiting(place.engine)
    assert (found.position, found.agent, found.attempt) == (3, ("a", "x"), 0)
    assert found.event.content == one.delivery.event.content
    assert list(await place.engine.dead_letters()) == []
    assert two.delivery.position == 2


async def test_positions_and_epochs_rise_over_hosts(place: Place) -> None:
    """Also when nothing is kept any more of those given out before."""
    epochs = []
    numbers: list[int] = []
    for _ in range(3):
        epochs.append((await place.reopen()).epoch)
        given = await place.engine.commit(Commit(appends=[append(1, *TWO)]))
        numbers += given
        await place.engine.commit(Commit(removed=list(given)))

    assert epochs == sorted(set(epochs))
    assert epochs[0] > 0
    assert epochs[-1] < 2**63
    assert numbers == [1, 2, 3, 4, 5, 6]


async def test_durable_types_and_sessions_are_found(place: Place) -> None:
    """As they were last; those that have ended are not."""
    sessions = [
        Session("s", name, incarnation=f"of {name}", token=name.encode()) for name in ("one", "two")
    ]
    await place.engine.commit(
        Commit(
            types=[KeptType("a", ()), KeptType("b", (("type", "t"),))],
            sessions=sessions,
        )
    )
    newer = KeptType("a", (("type", "t"), ("prefix", "m\0.")))
    await place.engine.commit(
        Commit(types=[newer], types_gone=["b"], sessions=sessions[1:], sessions_gone=[b"two"])
    )

    kept = await place.reopen()

    assert kept.types == (newer,)
    assert kept.sessions == (KeptSession(b"one", "one", "of one"),)


async def test_publishers_are_found_with_what_they_were_refused(place: Place) -> None:
    """The highest number counts, whatever was appended; those without a name are not kept."""
    await place.engine.commit(
        Commit(
            appends=[
                *(append(1, AGENT, of="p"), append(2, of="p", is_refused=True), append(3, of="p")),
                *(append(9, AGENT), append(5, AGENT, of="q"), append(1, of="r")),
            ]
        )
    )
    await place.engine.commit(Commit(appends=[append(4, of="p", is_refused=True)]))
    await place.engine.commit(Commit(origins_gone=["q", "r"], appends=[append(7, of="r")]))

    kept = await place.reopen()

    assert sorted(kept.origins) == [KeptOrigin("p", 4, (2, 4)), KeptOrigin("r", 7)]


async def test_what_was_answered_out_of_turn_is_found(place: Place) -> None:
    """While a publish waits for room, later ones are kept; until all up to them are known."""
    session = Session("s", "s", incarnation="p")
    session.origin = Origin("p")

    async def keep(number: int, *, is_refused: bool = False) -> None:
        each = append(number, AGENT, is_refused=is_refused)
        each.session = session
        await place.engine.commit(Commit(appends=[each]))
        session.origin.answer(number, each.refusal, window=4)

    await keep(1)
    session.origin.hold(2)
    session.origin.hold(4)
    await keep(3)
    await keep(5, is_refused=True)

    assert (await place.reopen()).origins == (KeptOrigin("p", 1, (5,), (3, 5)),)

    await keep(2)
    assert (await place.reopen()).origins == (KeptOrigin("p", 1, (5,), (3, 5, 2)),)
    await keep(6)
    assert (await place.reopen()).origins == (KeptOrigin("p", 3, (5,), (5, 6)),)
    await keep(4, is_refused=True)
    await keep(7)
    assert (await place.reopen()).origins == (KeptOrigin("p", 7, (5, 4)),)


async def test_what_is_refused_late_is_found(place: Place) -> None:
    """However far others have gone on meanwhile: it is the latest answer."""
    session = Session("s", "s", incarnation="p")
    session.origin = Origin("p")
    session.origin.hold(1)
    for number in (*range(2, 30), 1):
        each = append(number, AGENT, is_refused=number == 1)
        each.session = session
        await place.engine.commit(Commit(appends=[each]))
        session.origin.answer(number, each.refusal, window=4)

    (found,) = (await place.reopen()).origins

    assert (found.answered, found.refused) == (0, (1,))
    assert found.beyond[-8:] == (*range(23, 30), 1)


async def test_times_are_those_of_the_broker(place: Place) -> None:
    """When an event came and when it died: its age is the same for the next host."""
    now = asyncio.get_running_loop().time()
    waits, dies = await keep(place.engine, *TWO)
    await place.engine.commit(Commit(dead=[DeadLetter(dies, "unhandled", "", now - 100.0)]))

    await place.reopen()

    (letter,) = await place.engine.dead_letters()
    assert letter.at == pytest.approx(now - 100.0, abs=2.0)
    if place.is_sqlite:
        (found,) = await all_waiting(place.engine)
        assert found.enqueued_at == pytest.approx(now, abs=2.0)
    assert waits.position == 1
