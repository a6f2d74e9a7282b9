"""The message that a command line holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from callboard.agent.serialization import UnknownPayload
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE
from callboard.core.errors import InvalidMessage


def read_message(type_name: str, data: str) -> UnknownPayload:
    """The message of ``--type-name`` and ``--data``: JSON, ``@FILE``, or ``-`` for standard input.

    Raises:
        InvalidMessage: It is no JSON, or cannot be read.
    """
    try:
        if data == "-":
            written = sys.stdin.buffer.read()
        elif data.startswith("@"):
            written = Path(data[1:]).read_bytes()
        else:
            written = data.encode()
    except OSError as error:
        msg = f"cannot read --data {data}: {error.strerror}"
        raise InvalidMessage(msg) from error
    try:
        json.loads(written)
    except (ValueError, RecursionError) as error:
        msg = f"--data is not JSON: {error}"
        raise InvalidMessage(msg) from error
    return UnknownPayload(type_name, JSON_DATA_CONTENT_TYPE, written)
