"""AutoGen's own host, on a free port: what the tests hold good of it, ours has to keep."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntimeHost


async def main() -> None:
    """Serve until the standard input ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host = GrpcWorkerAgentRuntimeHost(address)
    host.start()
    sys.stdout.write(f"listening on {address}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
