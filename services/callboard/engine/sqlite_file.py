"""The file of the SQLite engine: where it lies, what is in it, and who may open it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from callboard.core.errors import NotAllowedNow, Unavailable, Unsupported

FILE_NAME = "callboard.db"
"""Beside it lies a file of the same name with ``-wal``, which belongs to it, while a host runs."""

VERSION = 1
"""Of what is in the file; rises with each change that hosts before it do not understand."""

SCHEMA = """
CREATE TABLE host (epoch INTEGER NOT NULL, last_position INTEGER NOT NULL);
INSERT INTO host VALUES (0, 0);

-- Its targets have the positions from id to last_position.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    last_position INTEGER NOT NULL,
    kept_at REAL NOT NULL,
    topic_type TEXT NOT NULL,
    topic_source TEXT NOT NULL,
    sender_type TEXT,
    sender_key TEXT,
    traceparent TEXT,
    tracestate TEXT,
    content BLOB NOT NULL
);
CREATE TABLE delivery (
    position INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL,
    agent_type TEXT NOT NULL,
    agent_key TEXT NOT NULL,
    failed_turns INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    bytes INTEGER NOT NULL,  -- of the event's content
    is_behind INTEGER NOT NULL  -- whether no host has it in its queues
);
-- Holds all that is asked of those behind, and costs the others nothing.
CREATE INDEX behind ON delivery (agent_type, agent_key, position, bytes) WHERE is_behind;
CREATE TABLE dead_letter (
    position INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL,
    agent_type TEXT NOT NULL,
    agent_key TEXT NOT NULL,
    failed_turns INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    died_at REAL NOT NULL,
    detail TEXT NOT NULL
);

-- An event goes with the last of its deliveries and dead letters.
CREATE TRIGGER delivery_gone AFTER DELETE ON delivery BEGIN
    DELETE FROM event WHERE id = OLD.event_id
    AND NOT EXISTS (
        SELECT 1 FROM delivery WHERE position BETWEEN event.id AND event.last_position
    )
    AND NOT EXISTS (
        SELECT 1 FROM dead_letter WHERE position BETWEEN event.id AND event.last_position
    );
END;
CREATE TRIGGER dead_letter_gone AFTER DELETE ON dead_letter BEGIN
    DELETE FROM event WHERE id = OLD.event_id
    AND NOT EXISTS (
        SELECT 1 FROM delivery WHERE position BETWEEN event.id AND event.last_position
    )
    AND NOT EXISTS (
        SELECT 1 FROM dead_letter WHERE position BETWEEN event.id AND event.last_position
    );
END;

CREATE TABLE agent_type (name TEXT PRIMARY KEY, patterns TEXT NOT NULL);
CREATE TABLE session (
    token BLOB PRIMARY KEY, client_id TEXT NOT NULL, incarnation TEXT NOT NULL
);
-- With how many answers there were; an answer has how many there were with it, about.
CREATE TABLE origin (
    incarnation TEXT PRIMARY KEY, answered INTEGER NOT NULL, count INTEGER NOT NULL
);
-- Those that do not follow from origin.answered.
CREATE TABLE answer (
    incarnation TEXT,
    number INTEGER,
    count INTEGER NOT NULL,
    is_refused INTEGER NOT NULL,
    PRIMARY KEY (incarnation, number)
) WITHOUT ROWID;
"""


def open_file(directory: Path) -> sqlite3.Connection:
    """Open the file in ``directory``, both made when they are missing, for this thread alone.

    Nobody else can open it until the connection is closed, or the process is gone.

    Raises:
        NotAllowedNow: Another host has it.
        Unsupported: A newer Callboard has written it.
        Unavailable: It cannot be read or written.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise unusable(path, error) from error
    try:
        _begin(connection, path)
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            msg = f"another host uses {path}: each needs a data directory of its own"
            raise NotAllowedNow(msg) from error
        raise unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def unusable(path: Path, error: Exception) -> Unavailable:
    """What to raise because of what SQLite, or the disk, has said about the file."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return Unavailable(f"events cannot be kept in {path}: {reason}")


def _begin(connection: sqlite3.Connection, path: Path) -> None:
    # Exclusive before the first look into the file: nobody else can so much as read it.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        msg = f"{path} has version {version}, of a newer Callboard: this one knows {VERSION}"
        raise Unsupported(msg)
    if version == 0:
        for statement in _statements(SCHEMA):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """One by one: `executescript` would commit what it finds begun."""
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements


def _make(path: Path) -> None:
    """Make the file when it is missing, readable for nobody else.

    One that is there is not touched: to close it would give up the locks that this process has.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
