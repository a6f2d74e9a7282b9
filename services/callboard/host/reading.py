"""How the reading of a worker's stream ends, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio

from callboard.core.errors import CallboardError
from callboard.log import Logger
from callboard.wire.status import HOST_BROKE

log = Logger(__name__)


async def failure_of(
    reading: Awaitable[None], worker: Callable[[], str | None]
) -> CallboardError | None:
    """Wait for a reader; what to end its stream with, None when there was only no more to read.

    Args:
        reading: Takes in what comes until the stream is over.
        worker: Tells whom it reads, for the log; None before that is known.
    """
    try:
        await reading
    except CallboardError as error:
        log.warning("stream refused", worker=worker(), reason=str(error))
        return error
    except grpc.aio.BaseError as error:
        # The other half has ended the stream, or gRPC has: there is nothing more to read.
        log.debug("stream broken off", worker=worker(), reason=str(error))
    except Exception as error:
        # A fault of the host's own, which this worker has met: it must not be the end of all.
        log.exception("frame not taken in", worker=worker())
        return CallboardError(f"{HOST_BROKE}: {type(error).__name__}")
    return None
