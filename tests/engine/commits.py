"""What a broker gives an engine, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple

from callboard.core.commit import Append, Commit, DeadLetter, Drop, Errand, Replay
from callboard.core.errors import Code
from callboard.core.event import Address, Delivery, Event
from callboard.core.frames import Refusal
from callboard.core.session import Session
from callboard.engine.contract import Engine
from callboard.wire.v1.cloudevent_pb2 import CloudEvent

AGENT = ("a", "x")


def event(text: str = "e") -> Event:
    return Event(CloudEvent(id=text).SerializeToString(), "t", "x")


EVENT = event()


def append(
    number: int,
    *targets: Address,
    of: str = "",
    event: Event = EVENT,
    is_refused: bool = False,
) -> Append:
    session = Session("s", "s", incarnation=of)
    session.origin.incarnation = of
    refusal = Refusal(number, Code.RESOURCE_EXHAUSTED, "full") if is_refused else None
    return Append(session, number, event, targets, refusal)


def deliveries_of(commit: Commit, numbers: Iterable[int]) -> list[Delivery]:
    """What a broker makes of what ``commit`` has appended."""
    given = iter(numbers)
    return [
        Delivery(next(given), agent, each.event)
        for each in commit.appends
        for agent in each.targets
    ]


def taken(
    replays: Iterable[DeadLetter], drops: Iterable[int], new: list[DeadLetter] | None = None
) -> Commit:
    errand = Errand()
    return Commit(
        replays=[Replay(letter, errand) for letter in replays],
        drops=[Drop(position, errand) for position in drops],
        dead=new or [],
        errands=[errand],
    )


async def keep(engine: Engine, *targets: Address, event: Event = EVENT) -> list[Delivery]:
    """Deliveries of one event that the engine has."""
    commit = Commit(appends=[append(1, *targets, event=event)])
    return deliveries_of(commit, await engine.commit(commit))


async def bury(engine: Engine, *letters: tuple[str, str, str]) -> list[DeadLetter]:
    """Dead letters of those agent types, reasons and details, one for an event each."""
    buried = []
    for agent_type, reason, detail in letters:
        (delivery,) = await keep(engine, (agent_type, "x"))
        buried.append(DeadLetter(delivery, reason, detail, 0.0))
    await engine.commit(Commit(dead=buried))
    return buried


async def all_waiting(engine: Engine) -> list[Delivery]:
    found: list[Delivery] = []
    while page := await engine.waiting(beyond=found[-1].position if found else 0):
        found += page
    return found


def told(deliveries: Iterable[Delivery]) -> list[object]:
    """All of them but when the engine had them."""
    return [
        (
            *(each.position, each.agent, astuple(each.event)),
            *(each.attempt, each.grant, each.failed_turns, each.losses),
        )
        for each in deliveries
    ]


def positions_of(letters: Sequence[DeadLetter]) -> list[int]:
    return [letter.delivery.position for letter in letters]
