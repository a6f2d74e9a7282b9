"""AutoGen's control channel: messages from one worker to another, about the state of agents.

The host passes them on as they are. Where AutoGen's leaves a question without an answer because
there is nobody to ask, this one answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from callboard.core.errors import (
    AgentNotFound,
    CallboardError,
    ProtocolViolation,
    ResourceExhausted,
    Unavailable,
)
from callboard.core.frames import clipped
from callboard.core.limits import too_large
from callboard.host.autogen.client import Stream
from callboard.host.reading import failure_of
from callboard.log import Logger
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb

if TYPE_CHECKING:
    from callboard.host.autogen.directory import Directory

log = Logger(__name__)

MAX_WAITING = 1024
"""Messages that wait for one worker; further ones are refused."""

WAITING_MESSAGES = 4
"""As many of the largest may wait for one worker."""

MAX_WAITING_BYTES = 64 << 20
"""What may wait for all workers, before one message more."""

MAX_NAMED_CHARS = 200
"""Of a destination, where a refusal names it."""

_ANSWERS = {"SaveState": pb.SaveStateResponse, "LoadState": pb.LoadStateResponse}
_TYPE_URL = "type.googleapis.com/agents."


class ControlLine:
    """One worker's control stream."""

    def __init__(self, client_id: str, message_bytes: int) -> None:
        self.client_id = client_id
        self.stream = Stream()
        self._message_bytes = message_bytes
        self._waiting: deque[bytes] = deque()
        self.waiting_bytes = 0

    def send(self, message: pb.ControlMessage) -> None:
        """Put a message in line. Raises `ResourceExhausted` where there is no room for it."""
        data = message.SerializeToString()
        limit = self._message_bytes
        if len(data) > limit:
            raise ResourceExhausted(too_large("control message", len(data), limit))
        waiting = self.waiting_bytes + len(data)
        if len(self._waiting) == MAX_WAITING or waiting > WAITING_MESSAGES * limit:
            msg = (
                f"{len(self._waiting)} control messages of {self.waiting_bytes} bytes wait for "
                "the worker to read them: there is no room for more"
            )
            raise ResourceExhausted(msg)
        self._waiting.append(data)
        self.waiting_bytes = waiting
        self.stream.wake()

    async def messages(self) -> AsyncIterator[bytes]:
        """What to send, until the stream is over."""
        goes_on = True
        while goes_on:
            goes_on = await self.stream.woken()
            while self._waiting:
                data = self._waiting.popleft()
                self.waiting_bytes -= len(data)
                yield data
        self.stream.check()


class ControlRoom:
    """The control streams of a host."""

    def __init__(self, directory: Directory, message_bytes: int) -> None:
        self._directory = directory
        self._message_bytes = message_bytes
        self._is_closed = False
        self._lines: dict[str, ControlLine] = {}

    def join(self, client_id: str) -> ControlLine:
        """A worker has opened a control stream; one that it had before ends.

        Raises `Unavailable` when the host is stopping.
        """
        if self._is_closed:
            msg = "the host is stopping"
            raise Unavailable(msg)
        line = ControlLine(client_id, self._message_bytes)
        earlier = self._lines.get(client_id)
        if earlier is not None:
            earlier.stream.end()
        self._lines[client_id] = line
        return line

    def leave(self, line: ControlLine, failure: CallboardError | None = None) -> None:
        """A control stream is over."""
        line.stream.end(failure)
        if self._lines.get(line.client_id) is line:
            del self._lines[line.client_id]

    def close(self) -> None:
        """The host stops: end all of them, and admit no more."""
        self._is_closed = True
        for line in self._lines.values():
            line.stream.end(Unavailable("the host is stopping"))

    async def read(self, line: ControlLine, requests: AsyncIterator[bytes]) -> None:
        """Pass on what a worker says, until its stream is over."""
        failure = await failure_of(self._take_all(line, requests), lambda: line.client_id)
        if failure is not None:
            self.leave(line, failure)

    async def _take_all(self, line: ControlLine, requests: AsyncIterator[bytes]) -> None:
        async for data in requests:
            if line.stream.is_over:
                return
            self._pass_on(line, _parse(data))

    def _pass_on(self, sender: ControlLine, message: pb.ControlMessage) -> None:
        try:
            line = self._line_to(message.destination)
            if sum(each.waiting_bytes for each in self._lines.values()) > MAX_WAITING_BYTES:
                msg = f"more than {MAX_WAITING_BYTES} bytes of control messages wait to be read"
                raise ResourceExhausted(msg)
            line.send(message)
        except CallboardError as error:
            problem = str(error)
            log.warning("control message not delivered", client_id=sender.client_id, reason=problem)
            answer = _refusal(message, problem)
            if answer is not None:
                with suppress(ResourceExhausted):  # it asks, and does not read
                    sender.send(answer)

    def _line_to(self, destination: str) -> ControlLine:
        """The stream that leads there. Raises `AgentNotFound` when there is none."""
        kind, _, name = destination.partition("=")
        line = None
        if kind == "clientid":
            line = self._lines.get(name)
            problem = f"no worker {_short(name)} has a control channel"
        elif kind == "agentid":
            agent_type = name.partition("/")[0]
            client_id = self._directory.client_of(agent_type)
            if client_id is None:
                problem = f"no worker has registered the agent type {_short(agent_type)}"
            else:
                line = self._lines.get(client_id)
                problem = f"the worker of {_short(agent_type)} has no control channel"
        else:
            problem = f"{_short(destination)} is neither agentid=type/key nor clientid=id"
        if line is None:
            raise AgentNotFound(problem)
        return line


def _short(name: str) -> str:
    return repr(clipped(name, MAX_NAMED_CHARS))


def _parse(data: bytes) -> pb.ControlMessage:
    try:
        return pb.ControlMessage.FromString(data)
    except DecodeError as error:
        msg = "what was sent is no agents.ControlMessage"
        raise ProtocolViolation(msg) from error


def _refusal(message: pb.ControlMessage, problem: str) -> pb.ControlMessage | None:
    """The answer to a question that nobody gets; None for what is no question."""
    name = message.rpc_message.type_url.rpartition(".")[2].removesuffix("Request")
    if name not in _ANSWERS or not message.HasField("respond_to"):
        return None
    answer = pb.ControlMessage(rpc_id=message.rpc_id, destination=message.respond_to)
    answer.rpc_message.type_url = f"{_TYPE_URL}{name}Response"
    answer.rpc_message.value = _ANSWERS[name](error=problem).SerializeToString()
    return answer
