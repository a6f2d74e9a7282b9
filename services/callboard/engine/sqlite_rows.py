"""A commit as the rows of tables, read off before the thread that writes them has it.

The broker goes on meanwhile, and changes what a commit refers to.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from callboard.core.commit import Append, Commit, Replay
    from callboard.core.event import Address, Event

MAX_INTEGER = (1 << 63) - 1
"""The largest that SQLite has. The protocol's go beyond it, those of honest peers do not."""

Value: TypeAlias = "str | bytes | int | float | None"
Row: TypeAlias = "tuple[Value, ...]"

NewEvent: TypeAlias = "tuple[Row, int, tuple[Address, ...], Container[Address]]"
"""An event's row from ``kept_at`` on, its bytes, for whom it is, and for whom it is behind."""


@dataclass(slots=True)
class Rows:
    """A commit; fields as there, rows as in the schema.

    Attributes:
        replays: The position of the dead letter, and the event that takes its place.
        dead: Without ``event_id``.
        origins: Incarnations, up to where all publishes are known, and how many there are more.
        answers: Incarnations, numbers, and whether they are refused: of those that are, or that are
            beyond what is known.
    """

    appends: list[NewEvent]
    replays: list[tuple[int, NewEvent]]
    drops: list[int]
    removed: list[int]
    at_hand: list[int]
    changed: list[Row]
    dead: list[tuple[int, *tuple[Value, ...]]]
    types: list[Row]
    types_gone: list[Row]
    sessions: list[Row]
    sessions_gone: list[Row]
    origins_gone: list[Row]
    origins: list[tuple[str, int, int]] = field(default_factory=list)
    answers: list[tuple[str, int, bool]] = field(default_factory=list)

    @property
    def has_presence(self) -> bool:
        """Whether anything is to be kept of types, sessions and publishers."""
        return bool(
            self.origins
            or self.types
            or self.types_gone
            or self.sessions
            or self.sessions_gone
            or self.origins_gone
        )


def rows_of(commit: Commit, now: float, behind_s: float) -> Rows:
    """The rows of ``commit``.

    Args:
        commit: What the broker has just given.
        now: The time, of the wall clock.
        behind_s: How far the broker's clock is behind that.
    """
    rows = Rows(
        appends=[
            _new_event(a.event, a.targets, a.behind or (), now) for a in commit.appends if a.targets
        ],
        replays=[_replay_row(each, now) for each in commit.replays],
        drops=[drop.position for drop in commit.drops],
        removed=commit.removed,
        at_hand=commit.at_hand,
        changed=[(each.failed_turns, each.losses, each.position) for each in commit.changed],
        dead=[
            (
                delivery.position,
                *delivery.agent,
                delivery.failed_turns,
                delivery.losses,
                delivery.attempt,
                reason,
                at + behind_s,
                detail,
            )
            for delivery, reason, detail, at in commit.dead
        ],
        types=[(each.name, json.dumps(each.patterns)) for each in commit.types],
        types_gone=_column(commit.types_gone),
        sessions=[(each.token, each.client_id, each.incarnation) for each in commit.sessions],
        sessions_gone=_column(commit.sessions_gone),
        origins_gone=_column(commit.origins_gone),
    )
    _add_publishers(rows, commit)
    return rows


def _add_publishers(rows: Rows, commit: Commit) -> None:
    latest: dict[str, Append] = {}
    counts: Counter[str] = Counter()
    for append in commit.appends:
        incarnation = append.session.origin.incarnation
        if not incarnation:
            continue
        latest[incarnation] = append
        counts[incarnation] += 1
        is_refused = append.refusal is not None
        if is_refused or append.number > append.known_through:
            rows.answers.append((incarnation, min(append.number, MAX_INTEGER), is_refused))
    rows.origins = [
        (incarnation, min(append.known_through, MAX_INTEGER), counts[incarnation])
        for incarnation, append in latest.items()
    ]


def _replay_row(replay: Replay, now: float) -> tuple[int, NewEvent]:
    delivery = replay.letter.delivery
    agents = (delivery.agent,)
    behind = () if replay.behind is None else agents
    return delivery.position, _new_event(delivery.event, agents, behind, now)


def _new_event(
    event: Event, targets: tuple[Address, ...], behind: Container[Address], now: float
) -> NewEvent:
    return _event_row(event, now), len(event.content), targets, behind


def _event_row(event: Event, now: float) -> Row:
    return (
        now,
        event.topic_type,
        event.topic_source,
        *(event.sender or (None, None)),
        *(event.hop or (None, None)),
        event.content,
    )


def _column(values: Iterable[Value]) -> list[Row]:
    return [(each,) for each in values]
