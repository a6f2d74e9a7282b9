"""Publishes events as a process of its own: ``python -m chaos.flood HOST COUNT RATE AGENTS MS``.

To so many agents of the type "load", with the ms that they are to be at each; a rate of 0 is as
fast as the host takes them. Says how many were taken, or ends: "full", when some are refused.
"""

from __future__ import annotations

import asyncio
import sys

from callboard import TopicId
from callboard.core.errors import ResourceExhausted
from callboard.worker import WorkerRuntime
from chaos.agents import Numbered

BATCH = 4096
PATIENCE_S = 1.0


async def main(address: str, count: int, rate: float, agents: int, work_ms: int) -> None:
    """Publish ``count`` events."""
    done = 0
    batch = BATCH if not rate else max(1, int(rate / 50))
    async with WorkerRuntime(address) as runtime:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        try:
            while done < count:
                topic = TopicId("load", f"agent-{done // batch % agents}")
                numbers = range(done, done + batch)
                events = (Numbered("flood", number, work_ms) for number in numbers)
                done += await runtime.publish_many(events, topic, timeout_s=PATIENCE_S)
                if rate:
                    await asyncio.sleep(max(0.0, began_at + done / rate - loop.time()))
        except ResourceExhausted as error:
            print(f"full: {error}", flush=True)
        else:
            print(f"published {done}", flush=True)


if __name__ == "__main__":
    _, host, *numbers = sys.argv
    count, rate, agents, work_ms = map(int, numbers)
    asyncio.run(main(host, count, rate, agents, work_ms))
