"""What the SQLite engine does in its thread: all of SQL but the schema."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from callboard.core.backlogs import Backlog
from callboard.core.commit import DeadLetter
from callboard.core.event import Delivery, Event, TraceContext
from callboard.core.kept import Kept, KeptOrigin, KeptSession, KeptType
from callboard.engine import contract
from callboard.engine.sqlite_file import open_file
from callboard.engine.sqlite_rows import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from callboard.core.backlogs import PageRequest
    from callboard.core.dead_letters import Selection
    from callboard.core.event import Address
    from callboard.engine.sqlite_rows import NewEvent, Row, Rows, Value

_AT_ONCE = (256, 32, 4, 1)
"""How many rows a statement is given: few statements a commit, and few texts of them to prepare.

Whenever a statement is at work the event loop may take the interpreter, and keep it for 5 ms: a
statement a row can cost that much a row.
"""

_SELECT_DELIVERIES = """
    SELECT position, event_id, agent_type, agent_key, failed_turns, losses, bytes FROM delivery
"""

_SELECT_BACKLOGS = """
    WITH request (number, type, key, beyond) AS (VALUES {requests})
    SELECT json_group_array(json_array(number, position, event_id, delivery.agent_type,
    delivery.agent_key, failed_turns, losses, bytes)) FROM request, delivery WHERE position IN (
        SELECT position FROM delivery AS of_agent WHERE is_behind
        AND of_agent.agent_type = request.type AND of_agent.agent_key = request.key
        AND of_agent.position > request.beyond ORDER BY position LIMIT ?
    )
"""
"""The first so many behind a position, for some agents.

They are no JSON, of which SQLite reads no text beyond a NUL.
"""

_EVENT = """
    id, kept_at, topic_type, topic_source, sender_type, sender_key, traceparent, tracestate
"""
_FROM_EVENTS = "FROM event WHERE id IN (SELECT value FROM json_each(?))"

_Events: TypeAlias = "dict[int, tuple[Event, float]]"

_SELECT_LETTERS = """
    SELECT position, event_id, agent_type, agent_key, failed_turns, losses, attempt, reason,
    died_at, detail, (SELECT length(content) FROM event WHERE id = event_id) FROM dead_letter
"""


class SqliteStore:
    """The file, open. Used by one thread, which makes it by `open`.

    What it is given has the times of the wall clock. What it returns has those of the broker's,
    which is ``behind_s`` behind it.
    """

    def __init__(self, connection: sqlite3.Connection, last_position: int, answers: int) -> None:
        self._execute = connection.execute
        self._connection = connection
        self._last_position = last_position
        self._answers = answers
        self._with_answers = {name for (name,) in self._execute("SELECT incarnation FROM answer")}

    @classmethod
    def open(cls, directory: Path, answers: int) -> tuple[Self, Kept]:
        """Open the file in ``directory``; what it holds. See `open_file` for what it raises.

        Args:
            directory: Where it is, or is to be.
            answers: How many of the latest answers to a publisher are known.
        """
        connection = open_file(directory)
        try:
            epoch, last_position = connection.execute(
                "SELECT epoch, last_position FROM host"
            ).fetchone()
            # Above those of engines that forget, too: their workers may still be there.
            epoch = max(int(time() * 1000), epoch + 1)
            connection.execute("UPDATE host SET epoch = ?", (epoch,))
            store = cls(connection, last_position, answers)
            return store, store._kept(epoch)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Let the file go, which then holds everything."""
        self._connection.close()

    # What is kept.

    def check(self) -> None:
        """Raise when nothing can be written."""
        try:
            self._execute("BEGIN IMMEDIATE")
            # Of a row that is set to what it is SQLite writes nothing.
            self._execute("INSERT INTO session VALUES (x'', '', '')")
            self._execute("DELETE FROM session WHERE token = x''")
            self._execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._execute("ROLLBACK")

    def commit(self, rows: Rows) -> list[int]:
        """Keep ``rows`` as one step; the numbers that `Engine.commit` returns."""
        former = self._last_position
        try:
            self._execute("BEGIN IMMEDIATE")
            numbers = [*self._append(rows.appends), *self._run_errands(rows)]
            self._let_go(rows)
            if rows.has_presence:
                self._keep_presence(rows)
            if self._last_position > former:
                self._execute("UPDATE host SET last_position = ?", (self._last_position,))
            self._execute("COMMIT")
        except BaseException:
            self._last_position = former
            self._roll_back()
            self._cover()
            raise
        return numbers

    def _cover(self) -> None:
        """Write over what a commit that has failed may have left in the log.

        If it could not be synced it is there as a whole: a host that comes now would find it.
        """
        with suppress(sqlite3.Error):
            self.check()

    def _append(self, events: Iterable[NewEvent]) -> range:
        """The positions of their targets, in order."""
        first = position = self._last_position + 1
        event_rows: list[Row] = []
        delivery_rows: list[Row] = []
        for row, size, targets, behind in events:
            event_id = position
            for agent in targets:
                delivery_rows.append((position, event_id, *agent, 0, 0, size, agent in behind))
                position += 1
            event_rows.append((event_id, position - 1, *row))
        self._insert("event", event_rows)
        self._insert("delivery", delivery_rows)
        self._last_position = position - 1
        return range(first, position)

    def _run_errands(self, rows: Rows) -> list[int]:
        """Replay and drop what is still there, in order; the new positions, and those dropped."""
        asked = [*(position for position, _ in rows.replays), *rows.drops]
        if not asked:
            return []
        found = self._execute(
            "SELECT position FROM dead_letter WHERE position IN (SELECT value FROM json_each(?))",
            (json.dumps(asked),),
        )
        there = {position for (position,) in found}
        taken = json.dumps(sorted(there))
        replayed: list[NewEvent] = []
        numbers: list[int] = []
        for position, event in rows.replays:
            if position in there:
                there.remove(position)
                replayed.append(event)
                numbers.append(self._last_position + len(replayed))
            else:
                numbers.append(0)
        self._append(replayed)
        for position in rows.drops:
            numbers.append(position if position in there else 0)
            there.discard(position)
        self._execute(
            "DELETE FROM dead_letter WHERE position IN (SELECT value FROM json_each(?))", (taken,)
        )
        return numbers

    def _let_go(self, rows: Rows) -> None:
        if rows.at_hand:
            self._execute(
                "UPDATE delivery SET is_behind = FALSE "
                "WHERE position IN (SELECT value FROM json_each(?))",
                (json.dumps(rows.at_hand),),
            )
        if rows.changed:
            self._connection.executemany(
                "UPDATE delivery SET failed_turns = ?, losses = ? WHERE position = ?", rows.changed
            )
        dead = [(position, position, *more) for position, *more in rows.dead]
        event_id = "(SELECT event_id FROM delivery WHERE position = ?)"
        self._insert("dead_letter", dead, f"(?, {event_id}{', ?' * 8})")
        gone = [*rows.removed, *(row[0] for row in rows.dead)]
        if gone:
            self._execute(
                "DELETE FROM delivery WHERE position IN (SELECT value FROM json_each(?))",
                (json.dumps(gone),),
            )

    def _keep_presence(self, rows: Rows) -> None:
        many = self._connection.executemany
        many("DELETE FROM origin WHERE incarnation = ?", rows.origins_gone)
        many("DELETE FROM answer WHERE incarnation = ?", rows.origins_gone)
        self._with_answers.difference_update(name for (name,) in rows.origins_gone)
        if rows.origins:
            self._keep_publishers(rows)
        many("INSERT OR REPLACE INTO agent_type VALUES (?, ?)", rows.types)
        many("DELETE FROM agent_type WHERE name = ?", rows.types_gone)
        many("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", rows.sessions)
        many("DELETE FROM session WHERE token = ?", rows.sessions_gone)

    def _keep_publishers(self, rows: Rows) -> None:
        many = self._connection.executemany
        many(
            "INSERT INTO origin VALUES (?, ?, ?) ON CONFLICT DO UPDATE "
            "SET answered = excluded.answered, count = count + excluded.count",
            rows.origins,
        )
        if rows.answers:
            many(
                "INSERT OR IGNORE INTO answer "
                "SELECT incarnation, ?2, count, ?3 FROM origin WHERE incarnation = ?1",
                rows.answers,
            )
            self._with_answers.update(name for name, _, _ in rows.answers)
        for name, answered, _ in rows.origins:
            if name in self._with_answers:
                self._execute(
                    "DELETE FROM answer WHERE incarnation = ?1 AND (NOT is_refused AND number <= ?2"
                    " OR count <= (SELECT count FROM origin WHERE incarnation = ?1) - ?3)",
                    (name, answered, self._answers),
                )

    def _insert(self, table: str, rows: Sequence[Row], form: str = "") -> None:
        for forms, values in _batches(rows, form):
            self._execute(f"INSERT INTO {table} VALUES {forms}", values)  # noqa: S608 (our own names)

    # What is found.

    def _kept(self, epoch: int) -> Kept:
        execute = self._execute
        refused: dict[str, list[int]] = {}
        beyond: dict[str, list[int]] = {}
        for name, number, is_refused, is_beyond in execute(
            "SELECT incarnation, number, is_refused, number > answered "
            "FROM answer JOIN origin USING (incarnation) ORDER BY answer.count, number"
        ):
            if is_refused:
                refused.setdefault(name, []).append(number)
            if is_beyond:
                beyond.setdefault(name, []).append(number)
        return Kept(
            epoch,
            tuple(
                KeptType(name, tuple((kind, pattern) for kind, pattern in json.loads(patterns)))
                for name, patterns in execute("SELECT name, patterns FROM agent_type")
            ),
            tuple(
                KeptSession(*row)
                for row in execute("SELECT token, client_id, incarnation FROM session")
            ),
            tuple(
                KeptOrigin(
                    name, answered, tuple(refused.get(name, ())), tuple(beyond.get(name, ()))
                )
                for name, answered in execute("SELECT incarnation, answered FROM origin")
            ),
        )

    def waiting(self, beyond: int, limit: int, behind_s: float) -> list[Delivery]:
        """See `Engine.waiting`."""
        found = self._execute(
            f"{_SELECT_DELIVERIES} WHERE position > ? AND NOT is_behind ORDER BY position LIMIT ?",
            (min(beyond, MAX_INTEGER), limit),
        )
        page: list[tuple[Any, ...]] = []
        size, former = 0, 0
        for *row, length in found:
            size += length if row[1] != former else 0  # one for all targets of an append
            former = row[1]
            if page and size > contract.PAGE_BYTES:
                break
            page.append(tuple(row))
        return self._deliveries(page, behind_s)

    def backlogs(self, beyond: Address | None, limit: int, behind_s: float) -> list[Backlog]:
        """See `Engine.backlogs`."""
        found = self._execute(
            "SELECT type, key, count, size, first, kept_at FROM "
            "(SELECT agent_type AS type, agent_key AS key, count(*) AS count, "
            "sum(bytes) AS size, min(position) AS first FROM delivery "
            "WHERE is_behind AND (agent_type, agent_key) > (?, ?) "
            "GROUP BY type, key ORDER BY type, key LIMIT ?) "
            "JOIN delivery ON position = first JOIN event ON id = event_id ORDER BY type, key",
            (*(beyond or ("", "")), limit),
        )
        return [
            Backlog((agent_type, agent_key), count, size, first, since - behind_s)
            for agent_type, agent_key, count, size, first, since in found
        ]

    def pages(self, requests: Sequence[PageRequest], behind_s: float) -> list[list[Delivery]]:
        """See `Engine.pages`."""
        found: list[list[Any]] = []
        by_limit: dict[int, list[Row]] = {}
        for number, request in enumerate(requests):
            limit = 1 << (request.limit - 1).bit_length()  # few limits: a statement has but one
            by_limit.setdefault(limit, []).append((number, *request.agent, request.beyond))
        for limit, some in by_limit.items():
            for form, values in _batches(some):
                found += self._read_all(_SELECT_BACKLOGS.format(requests=form), *values, limit)
        pages: list[list[list[Any]]] = [[] for _ in requests]
        for number, *row in sorted(found):
            pages[number].append(row)
        size = 0
        for request, page in zip(requests, pages, strict=True):
            del page[request.limit :]
            for place, row in enumerate(page):
                size += row.pop()
                if size > contract.BACKLOG_BYTES and (place or page is not pages[0]):
                    del page[place:]
                    break
        ids = {row[1] for page in pages for row in page}
        events = self._events_at_once(ids, behind_s)
        return [[_delivery_of(row, events) for row in page] for page in pages]

    def _deliveries(self, rows: Sequence[Any], behind_s: float) -> list[Delivery]:
        events = self._events({row[1] for row in rows}, behind_s)
        return [_delivery_of(row, events) for row in rows]

    def dead_letters(
        self,
        selection: Selection,
        *,
        beyond: int,
        limit: int | None,
        newest_first: bool,
        behind_s: float,
    ) -> list[DeadLetter]:
        """See `Engine.dead_letters`."""
        terms = ["TRUE"]
        values: list[object] = []
        if beyond:
            terms.append("position < ?" if newest_first else "position > ?")
            values.append(min(beyond, MAX_INTEGER))
        for term, value in (
            ("agent_type = ?", selection.agent_type),
            ("reason = ?", selection.reason),
        ):
            if value:
                terms.append(term)
                values.append(value)
        order = "DESC" if newest_first else "ASC"
        found = self._execute(
            f"{_SELECT_LETTERS} WHERE {' AND '.join(terms)} ORDER BY position {order} LIMIT ?",
            (*values, -1 if limit is None else limit),
        )
        return self._letters(found, contract.PAGE_BYTES if limit is not None else None, behind_s)

    def dead_letter(self, position: int, behind_s: float) -> DeadLetter | None:
        """See `Engine.dead_letter`."""
        found = self._execute(
            f"{_SELECT_LETTERS} WHERE position = ?", (min(position, MAX_INTEGER),)
        )
        return next(iter(self._letters(found, None, behind_s)), None)

    def _letters(
        self, found: Iterable[Any], page_bytes: int | None, behind_s: float
    ) -> list[DeadLetter]:
        page: list[tuple[Any, ...]] = []
        size = 0
        for *row, length in found:
            size += length + len(row[-1])
            if page and page_bytes is not None and size > page_bytes:
                break
            page.append(tuple(row))
        events = self._events({row[1] for row in page}, behind_s)
        letters = []
        for position, event_id, *agent, failed_turns, losses, attempt, reason, at, detail in page:
            event, enqueued_at = events[event_id]
            delivery = Delivery(
                position,
                (agent[0], agent[1]),
                event,
                attempt,
                enqueued_at=enqueued_at,
                failed_turns=failed_turns,
                losses=losses,
            )
            letters.append(DeadLetter(delivery, reason, detail, at - behind_s))
        return letters

    def _events(self, ids: Iterable[int], behind_s: float) -> _Events:
        """By id, with when they were kept, in the broker's time."""
        found = self._execute(
            f"SELECT {_EVENT}, content {_FROM_EVENTS}", (json.dumps(sorted(ids)),)
        )
        return {row[0]: _event_of(row, row[-1], behind_s) for row in found}

    def _events_at_once(self, ids: Iterable[int], behind_s: float) -> _Events:
        """`_events`, while the event loop is at work."""
        rows = self._read_all(
            f"SELECT json_group_array(json_array({_EVENT}, hex(content))) {_FROM_EVENTS}",
            json.dumps(sorted(ids)),
        )
        return {row[0]: _event_of(row, bytes.fromhex(row[-1]), behind_s) for row in rows}

    def _read_all(self, select: str, *values: object) -> list[list[Any]]:
        """The rows of a statement that has them in one, as JSON.

        At each row the event loop may take the interpreter, and keep it for 5 ms.
        """
        (found,) = self._execute(select, values).fetchone()
        rows: list[list[Any]] = json.loads(found)
        return rows


def _batches(rows: Sequence[Row], form: str = "") -> Iterator[tuple[str, list[Value]]]:
    """What statements are given, so many of ``rows`` each: its placeholders, and the values."""
    done = 0
    for count in _AT_ONCE:
        while len(rows) - done >= count:
            some = rows[done : done + count]
            each = form or f"(?{', ?' * (len(some[0]) - 1)})"
            yield ", ".join([each] * count), [value for row in some for value in row]
            done += count


def _event_of(row: Sequence[Any], content: bytes, behind_s: float) -> tuple[Event, float]:
    _, kept_at, topic_type, topic_source, sender_type, sender_key, parent, state, _ = row
    sender = None if sender_type is None else (sender_type, sender_key)
    hop = None if parent is None else TraceContext(parent, state)
    return Event(content, topic_type, topic_source, sender, hop), kept_at - behind_s


def _delivery_of(row: Sequence[Any], events: _Events) -> Delivery:
    position, event_id, agent_type, agent_key, failed_turns, losses = row
    event, enqueued_at = events[event_id]
    agent = (agent_type, agent_key)
    return Delivery(position, agent, event, 0, None, enqueued_at, failed_turns, losses)
