"""AutoGen's control channel: messages from one worker to another, about the state of agents.

The host passes them on as they are. Where AutoGen's leaves a question without an answer because
there is nobody to ask, this one answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from callboard.core.errors import (
    CallboardError,
    ProtocolViolation,
    ResourceExhausted,
    Unavailable,
)
from callboard.host.autogen.client import Stream
from callboard.host.reading import failure_of
from callboard.log import Logger
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb

if TYPE_CHECKING:
    from callboard.host.autogen.directory import Directory

log = Logger(__name__)

MAX_WAITING = 1024
"""Messages that wait for one worker. One that does not read so many loses its stream."""

_ANSWERS = {"SaveState": pb.SaveStateResponse, "LoadState": pb.LoadStateResponse}
_TYPE_URL = "type.googleapis.com/agents."


class ControlLine:
    """One worker's control stream."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.stream = Stream()
        self._waiting: deque[bytes] = deque()

    def send(self, message: pb.ControlMessage) -> None:
        """Put a message in line."""
        if len(self._waiting) == MAX_WAITING:
            msg = f"{MAX_WAITING} control messages wait for a worker that does not read"
            self.stream.end(ResourceExhausted(msg))
        else:
            self._waiting.append(message.SerializeToString())
            self.stream.wake()

    async def messages(self) -> AsyncIterator[bytes]:
        """What to send, until the stream is over."""
        goes_on = True
        while goes_on:
            goes_on = await self.stream.woken()
            while self._waiting:
                yield self._waiting.popleft()
        self.stream.check()


class ControlRoom:
    """The control streams of a host."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._lines: dict[str, ControlLine] = {}

    def join(self, client_id: str) -> ControlLine:
        """A worker has opened a control stream; one that it had before ends."""
        line = ControlLine(client_id)
        earlier = self._lines.get(client_id)
        if earlier is not None:
            earlier.stream.end()
        self._lines[client_id] = line
        return line

    def leave(self, line: ControlLine) -> None:
        """A control stream is over."""
        line.stream.end()
        if self._lines.get(line.client_id) is line:
            del self._lines[line.client_id]

    def close(self) -> None:
        """The host stops: end all of them."""
        for line in self._lines.values():
            line.stream.end(Unavailable("the host is stopping"))

    async def read(self, line: ControlLine, requests: AsyncIterator[bytes]) -> None:
        """Pass on what a worker says, until its stream is over."""
        failure: CallboardError | None = None
        try:
            failure = await failure_of(self._take_all(line, requests), lambda: line.client_id)
        finally:
            line.stream.end(failure)

    async def _take_all(self, line: ControlLine, requests: AsyncIterator[bytes]) -> None:
        async for data in requests:
            if line.stream.is_over:
                return
            self._pass_on(line, _parse(data))

    def _pass_on(self, sender: ControlLine, message: pb.ControlMessage) -> None:
        problem, target = self._target_of(message.destination)
        if target is not None:
            target.send(message)
            return
        log.warning("control message not delivered", client_id=sender.client_id, reason=problem)
        answer = _refusal(message, problem)
        if answer is not None:
            sender.send(answer)

    def _target_of(self, destination: str) -> tuple[str, ControlLine | None]:
        """Why there is no such destination, or the stream that leads to it."""
        kind, _, name = destination.partition("=")
        if kind == "clientid":
            return f"no worker {name!r} has a control channel", self._lines.get(name)
        if kind != "agentid":
            return f"{destination!r} is neither agentid=type/key nor clientid=id", None
        agent_type = name.partition("/")[0]
        client_id = self._directory.client_of(agent_type)
        if client_id is None:
            return f"no worker has registered the agent type {agent_type!r}", None
        return f"the worker of {agent_type!r} has no control channel", self._lines.get(client_id)


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
