"""Programs of AutoGen's, each a process under AutoGen's own interpreter, and what they tell."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

from callboard.worker import WorkerRuntime

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(__file__).parent / "programs"
PYTHON = ROOT / ".venv-autogen/bin/python"
CALLBOARD = Path(sys.executable).with_name("callboard")

PATIENCE_S = 20.0
"""How long anything may take before a test fails: a bound, not a wait."""
PROMPTLY_S = 1.0
"""How long an error may take that the host knows of."""

LISTENING = "listening on "

Said: TypeAlias = dict[str, Any]


class Refused(Exception):
    """An order failed in the program: the class, the text and the gRPC code it tells of."""

    def __init__(self, said: Said) -> None:
        super().__init__(f"{said['class']} {said.get('code', '')}: {said['text']}")
        self.code: str | None = said.get("code")
        self.text: str = said["text"]


class Program:
    """A program of `programs`, obeying orders; all it tells by itself is kept, in order."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.told: list[Said] = []
        self._news = asyncio.Condition()
        self._orders: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    async def read(self) -> None:
        """Take in what it says, until it ends."""
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            said: Said = json.loads(line)
            if "id" in said:
                order = self._orders.pop(said["id"])
                if order.done():
                    continue
                if "error" in said:
                    order.set_exception(Refused(said["error"]))
                else:
                    order.set_result(said["ok"])
            else:
                async with self._news:
                    self.told.append(said)
                    self._news.notify_all()
        for order in self._orders.values():
            if not order.done():
                order.set_exception(EOFError("the program has ended"))

    async def do(self, what: str, *, within_s: float = PATIENCE_S, **how: Any) -> Any:
        """Give an order and wait for its end.

        Raises:
            Refused: It failed.
            TimeoutError: It did neither in time.
        """
        self._number += 1
        order = asyncio.get_running_loop().create_future()
        self._orders[self._number] = order
        assert self.child.stdin is not None
        line = json.dumps({"id": self._number, "do": what, **how}) + "\n"
        self.child.stdin.write(line.encode())
        await self.child.stdin.drain()
        async with asyncio.timeout(within_s):
            return await order

    async def tells(self, matches: Callable[[Said], bool], *, within_s: float = PATIENCE_S) -> Said:
        """The first that matches of what it has told and will tell."""
        found: Said | None = None

        def look() -> bool:
            nonlocal found
            found = next((said for said in self.told if matches(said)), None)
            return found is not None

        try:
            async with asyncio.timeout(within_s), self._news:
                await self._news.wait_for(look)
        except TimeoutError:
            raise AssertionError(f"it has not told that, but {self.told}") from None
        assert found is not None
        return found

    async def kill(self) -> None:
        """End it without warning."""
        self.child.send_signal(signal.SIGKILL)
        await self.child.wait()


class Stock(Program):
    """A stock worker."""

    async def gets(
        self, text: str, agent_type: str | None = None, *, within_s: float = PATIENCE_S
    ) -> Said:
        """The first message with this text that an agent, of this type, got."""
        return await self.tells(
            lambda said: (
                "got" in said
                and text in said["got"][1].values()
                and agent_type in (None, said["agent"][0])
            ),
            within_s=within_s,
        )

    def got(self, text: str) -> list[Said]:
        """All messages so far with this text."""
        return [said for said in self.told if "got" in said and text in said["got"][1].values()]

    async def publish(self, text: str, topic_type: str, topic_source: str = "s") -> None:
        """Publish a note."""
        await self.do("publish", message=note(text), topic=(topic_type, topic_source))

    async def call(
        self, text: str, agent_type: str, key: str = "k", *, within_s: float = PATIENCE_S
    ) -> Said:
        """Call with a note: ``answer`` or ``error``, and ``seconds``."""
        said: Said = await self.do(
            "call", message=note(text), target=(agent_type, key), within_s=within_s
        )
        return said


class Raw(Program):
    """Clients without a runtime."""

    async def hears(
        self, stream: str, kind: str, *, within_s: float = PATIENCE_S, **parts: Any
    ) -> Said:
        """The first message of a kind on a stream that has these parts."""
        said = await self.tells(
            lambda said: (
                said.get("stream") == stream
                and kind in said.get("message", ())
                and said["message"][kind].items() >= parts.items()
            ),
            within_s=within_s,
        )
        heard: Said = said["message"][kind]
        return heard

    def heard(self, stream: str) -> list[Said]:
        """All messages so far on a stream."""
        return [
            said["message"]
            for said in self.told
            if said.get("stream") == stream and "message" in said
        ]

    async def ends(self, stream: str) -> Said:
        """How a stream ended."""
        return await self.tells(lambda said: said.get("stream") == stream and "ended" in said)


AnyProgram = TypeVar("AnyProgram", bound=Program)


def note(text: str, number: int = 0) -> Sequence[Any]:
    """The dataclass ``Note``, as orders name messages."""
    return ("Note", {"text": text, "number": number})


class Stage:
    """Where one test plays: a host, and programs and native workers that end with the test."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._programs: list[tuple[Program, asyncio.Task[None]]] = []
        self._natives = AsyncExitStack()

    def name(self, what: str = "clerk") -> str:
        """A name that no other test uses: hosts are shared, and types are exclusive."""
        return f"{what}_{uuid4().hex[:8]}"

    async def _start(self, cls: type[AnyProgram], file: str) -> AnyProgram:
        child = await asyncio.create_subprocess_exec(
            PYTHON,
            PROGRAMS / file,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        program = cls(child)
        self._programs.append((program, asyncio.create_task(program.read())))
        await program.tells(lambda said: "ready" in said)
        return program

    async def stock(self, **how: Any) -> Stock:
        """One more stock worker, connected."""
        made = await self._start(Stock, "stock.py")
        await made.do("start", address=self.address, **how)
        return made

    async def stocks(self, count: int, **how: Any) -> list[Stock]:
        """So many of them."""
        return await asyncio.gather(*(self.stock(**how) for _ in range(count)))

    async def clerk(self, agent_type: str, *topics: str, **how: Any) -> Stock:
        """A stock worker with an agent of this type, subscribed to these topics."""
        made = await self.stock(**how)
        await made.do("register", agent_type=agent_type)
        for topic in topics:
            await made.do("subscribe", agent_type=agent_type, topic_type=topic)
        return made

    async def raw(self) -> Raw:
        """A connection for clients without a runtime."""
        made = await self._start(Raw, "raw.py")
        await made.do("connect", address=self.address)
        return made

    async def native(self, **how: Any) -> WorkerRuntime:
        """A worker of ours, in this process."""
        return await self._natives.enter_async_context(WorkerRuntime(self.address, **how))

    async def close(self) -> None:
        """End all of it."""
        await self._natives.aclose()
        for program, _ in self._programs:
            if program.child.returncode is None:
                program.child.kill()
        for program, reading in self._programs:
            await reading
            await program.child.wait()


@contextmanager
def running(beginning: str, command: Sequence[str | Path], **settings: str) -> Iterator[str]:
    """A child process, killed at the end; the rest of its first line, which begins so."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT / "tests",
        env=os.environ | settings,
        text=True,
    )
    give_up = Timer(PATIENCE_S, child.kill)
    give_up.start()
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith(beginning), f"it has ended: {command}"
        give_up.cancel()
        yield line.removeprefix(beginning).strip()
    finally:
        give_up.cancel()
        child.kill()
        child.communicate()


def callboard_host(**settings: str) -> AbstractContextManager[str]:
    """A host of ours, with settings by their names in the environment; where it listens."""
    return running(LISTENING, [CALLBOARD, "host", "--address", "127.0.0.1:0"], **settings)


def callboard_worker(address: str, setup: str) -> AbstractContextManager[str]:
    """A worker of ours, ready."""
    return running("ready", [CALLBOARD, "worker", "--host", address, setup])


def autogen_host() -> AbstractContextManager[str]:
    """AutoGen's own host; where it listens."""
    return running(LISTENING, [PYTHON, PROGRAMS / "host.py"])
