"""What the SQLite engine does in its thread: all of SQL but the schema."""

from __future__ import annotations

import json
from time import time
from typing import TYPE_CHECKING, Any, Self

from callboard.core.commit import DeadLetter
from callboard.core.event import Delivery, Event, TraceContext
from callboard.core.kept import Kept, KeptOrigin, KeptSession, KeptType
from callboard.engine import contract
from callboard.engine.sqlite_file import open_file
from callboard.engine.sqlite_rows import MAX_INTEGER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from callboard.core.dead_letters import Selection
    from callboard.engine.sqlite_rows import NewEvent, Row, Rows

_INSERTED = (256, 32, 4, 1)
"""How many rows a statement inserts: few statements a commit, and few texts of them to prepare.

Whenever a statement is at work the event loop may take the interpreter, and keep it for 5 ms: a
statement a row can cost that much a row.
"""

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
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            raise
        return numbers

    def _append(self, events: Iterable[NewEvent]) -> range:
        """The positions of their targets, in order."""
        first = position = self._last_position + 1
        event_rows: list[Row] = []
        delivery_rows: list[Row] = []
        for row, targets in events:
            event_id = position
            for agent_type, agent_key in targets:
                delivery_rows.append((position, event_id, agent_type, agent_key, 0, 0))
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
        if not rows:
            return
        form = form or f"(?{', ?' * (len(rows[0]) - 1)})"
        done = 0
        for count in _INSERTED:
            while len(rows) - done >= count:
                values = ", ".join([form] * count)
                self._execute(
                    f"INSERT INTO {table} VALUES {values}",  # noqa: S608 (our own names)
                    [value for row in rows[done : done + count] for value in row],
                )
                done += count

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
            "SELECT position, event_id, agent_type, agent_key, failed_turns, losses, "
            "(SELECT length(content) FROM event WHERE id = event_id) "
            "FROM delivery WHERE position > ? ORDER BY position LIMIT ?",
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
        events = self._events({row[1] for row in page}, behind_s)
        deliveries = []
        for position, event_id, agent_type, agent_key, failed_turns, losses in page:
            event, enqueued_at = events[event_id]
            agent = (agent_type, agent_key)
            deliveries.append(
                Delivery(position, agent, event, 0, None, enqueued_at, failed_turns, losses)
            )
        return deliveries

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

    def _events(self, ids: Iterable[int], behind_s: float) -> dict[int, tuple[Event, float]]:
        """By id, with when they were kept, in the broker's time."""
        found = self._execute(
            "SELECT id, kept_at, topic_type, topic_source, sender_type, sender_key, traceparent, "
            "tracestate, content FROM event WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(ids)),),
        )
        events = {}
        for event_id, kept_at, *topic, sender_type, sender_key, parent, state, content in found:
            sender = None if sender_type is None else (sender_type, sender_key)
            hop = None if parent is None else TraceContext(parent, state)
            events[event_id] = Event(content, topic[0], topic[1], sender, hop), kept_at - behind_s
        return events
