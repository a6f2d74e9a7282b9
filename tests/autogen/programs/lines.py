"""How a program here is told what to do: lines of JSON, in and out.

``{"id": 1, "do": "publish", ...}`` comes in by standard input and calls the method ``publish`` of
the program with the other members. ``{"id": 1, "ok": ...}`` or ``{"id": 1, "error": ...}`` goes out
by standard output when it is done; what happens by itself goes out without an ``id``. Orders run
side by side. The end of the input ends the program.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

LONGEST_LINE_BYTES = 1 << 16


def tell(**said: Any) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _describe(error: BaseException) -> dict[str, Any]:
    described = {"class": type(error).__name__, "text": str(error)}
    code = getattr(error, "code", None)
    if callable(code):  # grpc.aio.AioRpcError
        described |= {"code": code().name, "text": error.details()}
    return described


async def _obey(program: object, order: dict[str, Any]) -> None:
    number = order.pop("id")
    try:
        result = await getattr(program, order.pop("do"))(**order)
    except Exception as error:  # noqa: BLE001 (the test is told which)
        tell(id=number, error=_describe(error))
    else:
        tell(id=number, ok=result)


async def serve(program: object) -> None:
    """Do as the standard input says, until it ends; orders that still run are dropped."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    orders: set[asyncio.Task[None]] = set()
    tell(ready=True)
    while line := await reader.readline():
        task = asyncio.create_task(_obey(program, json.loads(line)))
        orders.add(task)
        task.add_done_callback(orders.discard)
    for task in orders:
        task.cancel()
    await asyncio.gather(*orders, return_exceptions=True)
