"""The service `agents.AgentRpc`: gRPC's side of AutoGen's protocol.

The service has AutoGen's name and paths. Its messages are of our own package, so handlers take and
give bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from callboard.core.errors import (
    CallboardError,
    InvalidIdentifier,
    InvalidMessage,
    ResourceExhausted,
    Unavailable,
    error_of,
)
from callboard.host.autogen.client import Client, Stream, sent_to
from callboard.host.autogen.control import ControlRoom
from callboard.host.autogen.directory import (
    INBOX,
    Directory,
    NoSuchSubscription,
    id_of,
    inbox_of,
)
from callboard.host.autogen.messages import subscription_from, subscription_to
from callboard.host.reading import failure_of
from callboard.log import Logger
from callboard.wire.autogen_v1 import agent_worker_pb2 as pb
from callboard.wire.status import status_of

if TYPE_CHECKING:
    from callboard.host.switchboard import Switchboard

log = Logger(__name__)

SERVICE = "agents.AgentRpc"

UNOPENED_S = 60.0
"""How long a worker that has registered may be without a stream before it is forgotten.

AutoGen's open one first, but its first registration may arrive before it. One that comes after the
stream has ended was on its way when the worker was lost: taken, it would keep a type from the
worker's successor. It is refused for as long.
"""

MAX_NAME_CHARS = 1000
"""Of client-ids, and of all that a registration names. AutoGen has no bound; what is registered is
kept. With what the host puts before them they stay below the broker's bound."""

MAX_SUBSCRIPTIONS = 10_000
"""Of one worker: each further one costs the host a look at all of them, 20 ms at this number."""

MAX_UNOPENED = 1024
"""Workers that have registered and have no stream yet; further ones are refused. As many that are
gone are remembered."""

_UNEXPECTED = "Unexpected <class 'ValueError'>: "
"""How gRPC words the errors that AutoGen's host does not catch: programs may look for the text."""

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]


class AutogenServicer:
    """All AutoGen workers of a host."""

    def __init__(
        self, switchboard: Switchboard, tasks: asyncio.TaskGroup, *, message_bytes: int
    ) -> None:
        """Serve nobody yet.

        Args:
            switchboard: What leads to the broker.
            tasks: Where the readers of streams live.
            message_bytes: The largest message that a worker reads, encoded.
        """
        self._switchboard = switchboard
        self._tasks = tasks
        self._message_bytes = message_bytes
        self._directory = Directory()
        self._clients: dict[str, Client] = {}
        self._forgetting: dict[str, asyncio.TimerHandle] = {}
        self._gone: dict[str, float] = {}  # in the order of time
        self._control = ControlRoom(self._directory, message_bytes)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve its methods."""
        streams = {"OpenChannel": self._open, "OpenControlChannel": self._open_control}
        unary: dict[str, Callable[[str, bytes], Message]] = {
            "RegisterAgent": self._register,
            "AddSubscription": self._add_subscription,
            "RemoveSubscription": self._remove_subscription,
            "GetSubscriptions": self._get_subscriptions,
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.stream_stream_rpc_method_handler(stream) for name, stream in streams.items()
        }
        for name, method in unary.items():
            handlers[name] = grpc.unary_unary_rpc_method_handler(_unary(method))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def close(self) -> None:
        """The host stops: end the control streams; the others are the switchboard's to end."""
        self._control.close()
        for timer in self._forgetting.values():
            timer.cancel()

    # Streams.

    async def _open(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        client_id = await _client_id_of(context)
        # Before anything can be said: until then gRPC would repeat all that the worker has sent on
        # a new connection, should this one break.
        await context.send_initial_metadata(())
        stream = Stream()
        try:
            client = self._client(client_id, opens=True)
            client.attach(stream)
            self._stop_forgetting(client)
            self._tasks.create_task(self._read(client, stream, requests), name="read")
            try:
                async for message in sent_to(client, stream):
                    yield message
            finally:
                stream.end()
                if client.is_on(stream):
                    self._forget(client)
        except CallboardError as error:
            await context.abort(status_of(error), str(error))

    async def _read(self, client: Client, stream: Stream, requests: AsyncIterator[bytes]) -> None:
        """Take in what a worker says.

        One that says no more goes on hearing, as at AutoGen's host. One that said what it must not
        is gone at once: it may not read, and its stream stay for that.
        """
        failure = await failure_of(_take_all(client, stream, requests), lambda: client.client_id)
        if failure is None:
            return
        stream.end(failure)
        if client.is_on(stream):
            self._forget(client, failure)

    async def _open_control(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        client_id = await _client_id_of(context)
        await context.send_initial_metadata(())
        try:
            line = self._control.join(client_id)
            self._tasks.create_task(self._control.read(line, requests), name="read")
            try:
                async for message in line.messages():
                    yield message
            finally:
                self._control.leave(line)
        except CallboardError as error:
            await context.abort(status_of(error), str(error))

    # Unary methods.

    def _register(self, client_id: str, data: bytes) -> Message:
        agent_type = _type(pb.RegisterAgentTypeRequest.FromString(data).type)
        self._client(client_id)
        concerned = self._directory.register(client_id, agent_type)
        failure = self._declare(concerned, of=("type", agent_type))
        if failure is not None:
            self._declare(self._directory.unregister(agent_type))
            raise failure
        return pb.RegisterAgentTypeResponse()

    def _add_subscription(self, client_id: str, data: bytes) -> Message:
        subscription = pb.AddSubscriptionRequest.FromString(data).subscription
        try:
            entry = subscription_from(subscription, subscription.id or str(uuid4()))
        except InvalidMessage as error:
            msg = "Invalid subscription message."
            raise _Unexpected(msg) from error
        for text in (entry.id, entry.pattern):
            _bounded(text)
        _type(entry.agent_type)
        self._client(client_id)
        concerned = self._directory.add(client_id, entry)
        count = max(self._directory.count(each) for each in concerned)
        if count > MAX_SUBSCRIPTIONS:
            self._directory.withdraw(entry)
            msg = f"a worker has {MAX_SUBSCRIPTIONS} subscriptions, that is the limit"
            raise ResourceExhausted(msg)
        failure = self._declare(concerned, of=("subscription", id_of(entry)))
        if failure is not None:
            self._declare([self._directory.withdraw(entry)])
            raise failure
        return pb.AddSubscriptionResponse()

    def _remove_subscription(self, _client_id: str, data: bytes) -> Message:
        try:
            concerned = self._directory.remove(pb.RemoveSubscriptionRequest.FromString(data).id)
        except NoSuchSubscription as error:
            raise _Unexpected(str(error)) from error
        self._declare(concerned)
        return pb.RemoveSubscriptionResponse()

    def _get_subscriptions(self, _client_id: str, _data: bytes) -> Message:
        return pb.GetSubscriptionsResponse(
            subscriptions=[subscription_to(each) for each in self._directory.subscriptions()]
        )

    # Workers.

    def _client(self, client_id: str, *, opens: bool = False) -> Client:
        """The worker of that id, met now or before; unless it opens a stream, for a time only."""
        client = self._clients.get(client_id)
        if client is not None and client.session.is_live:
            return client
        self._switchboard.check_open()
        if client is not None:
            self._forget(client)
        if opens:
            self._gone.pop(client_id, None)
        else:
            self._check_unopened(client_id)
        client = Client(client_id, self._switchboard, message_bytes=self._message_bytes)
        self._clients[client_id] = client
        failure = self._declare([client_id], of=("type", inbox_of(client_id)))
        if failure is not None:
            self._forget(client, failure)
            raise failure
        self._forgetting[client_id] = asyncio.get_running_loop().call_later(
            UNOPENED_S, self._forget_unopened, client
        )
        return client

    def _check_unopened(self, client_id: str) -> None:
        """Raise what keeps a worker from being met before it opens a stream, if anything does."""
        if len(self._forgetting) >= MAX_UNOPENED:
            msg = f"{MAX_UNOPENED} workers have registered and opened no stream yet"
            raise Unavailable(msg)
        if self._gone.get(client_id, 0.0) > asyncio.get_running_loop().time():
            msg = "the stream of this client-id has ended: it has to open another one first"
            raise Unavailable(msg)

    def _declare(
        self, concerned: Iterable[str], of: tuple[str, str] | None = None
    ) -> CallboardError | None:
        """Tell the broker what some workers now serve; why ``of`` is refused, if it is.

        ``of`` is the kind and the name of what somebody asks for. What else is refused, where a
        subscription goes from one worker to another and there is no room, nobody has asked for.
        """
        failure = None
        for client_id in concerned:
            for error in self._clients[client_id].declare(self._directory.declared_by(client_id)):
                if (error.entry, error.name) == of:
                    failure = error_of(error.code, error.reason)
                else:
                    log.warning(
                        "no room for what is registered",
                        client_id=client_id,
                        name=error.name,
                        reason=error.reason,
                    )
        return failure

    def _forget_unopened(self, client: Client) -> None:
        log.warning("registered and never connected", client_id=client.client_id)
        self._forget(client)

    def _stop_forgetting(self, client: Client) -> None:
        timer = self._forgetting.pop(client.client_id, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, client: Client, failure: CallboardError | None = None) -> None:
        """A worker is gone, with all that it serves. Idempotent."""
        client_id = client.client_id
        self._switchboard.leave(client.session)
        client.end(failure)
        if self._clients.get(client_id) is not client:
            return
        del self._clients[client_id]
        self._stop_forgetting(client)
        if client.has_opened:
            self._remember_gone(client_id)
        self._declare(self._directory.drop(client_id))

    def _remember_gone(self, client_id: str) -> None:
        now = asyncio.get_running_loop().time()
        self._gone[client_id] = now + UNOPENED_S
        oldest = next(iter(self._gone))
        if len(self._gone) > MAX_UNOPENED or self._gone[oldest] <= now:
            del self._gone[oldest]


async def _take_all(client: Client, stream: Stream, requests: AsyncIterator[bytes]) -> None:
    async for data in requests:
        if stream.is_over:
            return
        client.take(data)
        await client.until_heard()


class _Unexpected(CallboardError):
    """An error that AutoGen's host does not catch."""


def _unary(method: Callable[[str, bytes], Message]) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """A gRPC method of one that needs no waiting."""

    async def call(data: bytes, context: Context) -> bytes:
        client_id = await _client_id_of(context)
        try:
            return method(client_id, data).SerializeToString()
        except DecodeError:
            text, status = "what was sent is no such message", grpc.StatusCode.INVALID_ARGUMENT
        except _Unexpected as error:
            text, status = f"{_UNEXPECTED}{error}", grpc.StatusCode.UNKNOWN
        except Unavailable as error:
            text, status = str(error), grpc.StatusCode.UNAVAILABLE
        except CallboardError as error:
            # Whatever it is: AutoGen's host has no other status.
            text, status = str(error), grpc.StatusCode.INVALID_ARGUMENT
        return await context.abort(status, text)

    return call


def _bounded(text: str) -> str:
    """``text``, if it is no longer than what is registered may be."""
    if len(text) > MAX_NAME_CHARS:
        msg = f"{text[:80]!r}... is too long: at most {MAX_NAME_CHARS} characters are kept"
        raise InvalidIdentifier(msg)
    return text


def _type(name: str) -> str:
    """``name``, if a worker may give it to an agent type. AutoGen's ids take no colon either."""
    if name.startswith(INBOX):
        msg = f"agent types that begin with {INBOX!r} are the host's own"
        raise InvalidIdentifier(msg)
    return _bounded(name)


async def _client_id_of(context: Context) -> str:
    found = dict(context.invocation_metadata() or ()).get("client-id")
    if found is None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "client-id metadata not found.")
    if len(found) > MAX_NAME_CHARS:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the client-id is too long")
    return str(found)
