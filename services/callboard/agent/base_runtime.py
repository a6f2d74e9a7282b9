"""What every runtime does the same way: registrations, serializers, interventions, calls that end.

A runtime adds how things travel: `BaseRuntime._declare`, `_send_publish`, `_send_call`,
`_send_cancel`, and the methods of `TurnOutput` for what its turns have to say.
"""

from __future__ import annotations

import asyncio
import os
import random
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from callboard.agent.agent import Agent, AgentMetadata
from callboard.agent.calls_made import CallsMade, hear, resolve
from callboard.agent.cancellation import CancellationToken
from callboard.agent.closings import DEFAULT_CLOSE_TIMEOUT_S
from callboard.agent.context import MessageContext
from callboard.agent.declarations import Declarations
from callboard.agent.exceptions import (
    CantHandleException,
    MessageDroppedException,
    NotAccessibleError,
)
from callboard.agent.instantiation import AgentInstantiationContext
from callboard.agent.intervention import DropMessage, InterventionHandler
from callboard.agent.registration import policy_of
from callboard.agent.serialization import (
    MessageSerializer,
    SerializationRegistry,
    UnknownPayload,
    try_get_known_serializers_for_type,
)
from callboard.agent.stream_made import STREAM_WINDOW
from callboard.agent.turn import AgentFactory
from callboard.agent.turn_runner import TurnRunner
from callboard.core.envelope import JSON_DATA_CONTENT_TYPE, Envelope
from callboard.core.errors import (
    AlreadyRegistered,
    CallboardError,
    Code,
    DeadlineExceeded,
    InvalidMessage,
    NotAllowedNow,
    NotFound,
    ResourceExhausted,
    error_of,
)
from callboard.core.event import Address, Delivery, Event
from callboard.core.frames import (
    Call,
    CallFailure,
    HostFrame,
    Outcome,
    Partitions,
    Registration,
    RegistrationError,
    Reply,
)
from callboard.core.identity import AgentId, AgentType, TopicId
from callboard.core.limits import too_large
from callboard.core.retry import Policy
from callboard.core.subscription import Subscription

if TYPE_CHECKING:
    from callboard.agent.codec import Codec
    from callboard.agent.publishes import Done
    from callboard.agent.tracing import Tracer

T = TypeVar("T", bound=Agent)

_ids = random.Random()  # noqa: S311 (ids are no secrets; the system's cost each event its call)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)  # or a fork would give the same ids

DEFAULT_CALL_TIMEOUT_S = 300.0
"""How long a call may take that names no time: long enough for a model to think."""

DEFAULT_PUBLISH_TIMEOUT_S = 30.0
"""How long an event may wait for room at the host when its publisher names no time."""

LONGEST_CALL_S = 30 * 86_400.0
"""No call or publish may take longer: a wait without end would be one that nobody ends."""

_NONE = Envelope("", JSON_DATA_CONTENT_TYPE, b"null", "")


class BaseRuntime(ABC):
    """The parts of `AgentRuntime` that do not depend on how messages travel."""

    def __init__(
        self,
        codec: Codec,
        *,
        intervention_handlers: Sequence[InterventionHandler] | None = None,
        call_timeout_s: float = DEFAULT_CALL_TIMEOUT_S,
        close_timeout_s: float = DEFAULT_CLOSE_TIMEOUT_S,
        idle_timeout_s: float,
        max_instances: int,
    ) -> None:
        self._codec = codec
        self._call_timeout_s = call_timeout_s
        self._interventions = tuple(intervention_handlers or ())
        self._serializers = SerializationRegistry()
        self._max_event_bytes = 1 << 62
        self._runner = TurnRunner(
            self,
            self,
            self._serializers,
            codec,
            on_response=self._intervene_on_response if self._interventions else None,
            close_timeout_s=close_timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_instances=max_instances,
        )
        self._tracer: Tracer | None = None
        self._declarations = Declarations()
        self._instances: dict[AgentId, Agent] = {}
        self._calls = CallsMade(self._send_call, self._send_cancel, self._send_credit)

    # How things travel.

    @abstractmethod
    def _declare(self, registration: Registration) -> asyncio.Future[Sequence[RegistrationError]]:
        """Tell the host all that is served here; the future holds what it refused.

        Done at once when not connected yet: all is declared then.
        """

    @abstractmethod
    def _send_publish(self, event: Event, done: Done, deadline: float | None) -> None:
        """Send an event; ``done`` hears how it ends.

        It may wait for room until ``deadline``, in the loop's time; not at all if that is None.
        """

    @abstractmethod
    def _send_call(self, call: Call) -> None:
        """Send a call; the reply goes to `CallsMade.take`."""

    @abstractmethod
    def _send_cancel(self, call_id: int) -> None:
        """Nobody waits for a call's reply any more."""

    @abstractmethod
    def _send_credit(self, call_id: int, count: int) -> None:
        """There is room for so many more answers to a streamed call."""

    @abstractmethod
    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery has ended."""

    @abstractmethod
    def reply(self, reply: Reply) -> None:
        """A call is answered."""

    @abstractmethod
    def surrendered(self, partitions: Partitions) -> None:
        """No turn of these partitions runs or will run."""

    # Messages.

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> Any:
        """Call one agent and wait for its reply; see `AgentRuntime.send_message`."""
        token = cancellation_token
        message_id = message_id or self._new_id()
        self._expect(reply_type)
        if self._interventions:
            token = token or CancellationToken()
            message = await self._intervene_on_send(message, sender, recipient, token, message_id)
        call = self._call(message, message_id, recipient, sender, timeout_s=timeout_s)
        span = None if self._tracer is None else self._tracer.call(call, message_id)
        if span is not None:
            call.hop = span.context
        try:
            reply = _succeeded(await self._calls.reply_to(call, token))
            answer = self._decode(reply.payload, recipient, reply_type)
        except BaseException as error:
            if span is not None:
                span.end(error)
            raise
        if span is not None:
            span.end(None)
        return answer

    async def stream_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
        reply_type: type[Any] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call one agent and take its replies as they come; see `AgentRuntime.stream_message`."""
        token = cancellation_token or CancellationToken()
        message_id = message_id or self._new_id()
        self._expect(reply_type)
        if self._interventions:
            message = await self._intervene_on_send(message, sender, recipient, token, message_id)
        call = self._call(message, message_id, recipient, sender, timeout_s=timeout_s)
        call.credit = STREAM_WINDOW
        span = None if self._tracer is None else self._tracer.call(call, message_id)
        if span is not None:
            call.hop = span.context
        error: BaseException | None = None
        try:
            with self._calls.stream(call, token) as answers:
                while not answers.has_ended:
                    reply = _succeeded(await answers.next())
                    if reply.payload or not reply.last:
                        yield self._decode(reply.payload, recipient, reply_type)
        except GeneratorExit:
            raise
        except BaseException as raised:
            error = raised
            raise
        finally:
            if span is not None:
                span.end(error)

    def _expect(self, reply_type: type[Any] | None) -> None:
        """Replies of this class may come."""
        if reply_type is not None and reply_type is not UnknownPayload:
            self._serializers.add_serializer(try_get_known_serializers_for_type(reply_type))

    def _call(
        self,
        message: Any,
        message_id: str,
        recipient: AgentId,
        sender: AgentId | None,
        *,
        timeout_s: float | None,
    ) -> Call:
        """A call that is ready to be sent."""
        payload = self._encode(message, message_id)
        timeout_s = min(self._call_timeout_s if timeout_s is None else timeout_s, LONGEST_CALL_S)
        if not timeout_s > 0:  # nor when it is no number
            msg = f"no time for a reply from {recipient}: timeout_s is {timeout_s}"
            raise DeadlineExceeded(msg)
        turn = self._runner.current_turn()
        return Call(
            self._calls.next_id(),
            (recipient.type, recipient.key),
            payload,
            timeout_s,
            None if turn is None else turn.id,
            sender=_address(sender),
        )

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Publish an event; see `AgentRuntime.publish_message`."""
        message_id = message_id or self._new_id()
        if self._interventions:
            token = cancellation_token or CancellationToken()
            context = MessageContext(sender, topic_id, False, token, message_id)  # noqa: FBT003 (a dataclass)
            for handler in self._interventions:
                message = await handler.on_publish(message, message_context=context)
                if _is_dropped(message):
                    return
        event = self._event(message, topic_id, sender, message_id)
        turn = self._runner.current_turn()
        if turn is not None:
            turn.begin_publish()
            self._send(event, turn.end_publish, message_id, None)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if cancellation_token is not None:
            cancellation_token.link_future(done)
        try:
            if not done.done():
                self._send(event, partial(resolve, done), message_id, _deadline(timeout_s))
            await done
        except BaseException:
            hear(done)
            raise
        finally:
            if cancellation_token is not None:
                cancellation_token.remove_callback(done.cancel)

    def publish_event(
        self, event: Event, *, timeout_s: float | None = None
    ) -> asyncio.Future[None]:
        """Send an event that is encoded already, without waiting: for tools that pass events on.

        Interventions are not asked. The future ends when the host has the event, or with its
        refusal; hold no more than a publish window of them. ``timeout_s`` as in `publish_message`.

        Raises:
            ResourceExhausted: The event is larger than the host's limit; the text names both sizes.
        """
        self._check_size("event", event.content)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send(event, partial(resolve, done), None, self._deadline(timeout_s))
        return done

    async def publish_many(
        self,
        messages: Iterable[Any],
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Publish events in order, without waiting for each: `publish_message`, pipelined.

        Returns when the host has all of them; how many there were. Interventions are not asked.
        Events are read from ``messages`` only as fast as the host takes them. ``timeout_s`` is that
        of each, as in `publish_message`.

        Raises:
            CallboardError: The first refusal, after everything under way has ended. Later ones may
                have been taken: publishing all again publishes those twice.
        """
        count = under_way = 0
        refused: list[CallboardError] = []
        changed = asyncio.Event()

        def done(error: CallboardError | None) -> None:
            nonlocal under_way
            under_way -= 1
            if error is not None:
                refused.append(error)
            changed.set()

        for message in messages:
            message_id = self._new_id()
            event = self._event(message, topic_id, sender, message_id)
            under_way += 1
            count += 1
            self._send(event, done, message_id, self._deadline(timeout_s))
            while under_way >= self._publish_window and not refused:
                changed.clear()
                await changed.wait()
            if refused:
                break
        while under_way:
            changed.clear()
            await changed.wait()
        if refused:
            raise refused[0]
        return count

    # Registration.

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], T | Awaitable[T]],
        *,
        expected_class: type[T] | None = None,
        policy: Policy | None = None,
    ) -> AgentType:
        """Serve agents of ``type`` here; see `AgentRuntime.register_factory`."""
        agent_type = type if isinstance(type, AgentType) else AgentType(type)
        durable = bool(getattr(expected_class, "durable", True))
        factory = AgentFactory(
            agent_factory, expected_class, policy=policy_of(expected_class, policy)
        )
        await self._add_type(agent_type.type, factory, durable=durable)
        return agent_type

    async def register_agent_instance(
        self, agent_instance: Agent, agent_id: AgentId, *, policy: Policy | None = None
    ) -> AgentId:
        """Serve the agent ``agent_id`` with an instance made elsewhere; see `AgentRuntime`."""
        if agent_id in self._instances:
            msg = f"agent {agent_id} is registered already"
            raise AlreadyRegistered(msg)
        is_first = not any(other.type == agent_id.type for other in self._instances)
        if not is_first and agent_id.type in self._declarations.types:
            await agent_instance.bind_id_and_runtime(agent_id, self)
            self._instances[agent_id] = agent_instance
            return agent_id

        def instance() -> Agent:
            wanted = AgentInstantiationContext.current_agent_id()
            if wanted not in self._instances:
                msg = f"agent type {wanted.type!r} has instances only, and {wanted} is none of them"
                raise NotFound(msg)
            return self._instances[wanted]

        durable = bool(getattr(agent_instance, "durable", True))
        policy = policy_of(agent_instance.__class__, policy)
        self._instances[agent_id] = agent_instance
        try:
            factory = AgentFactory(instance, makes_new=False, policy=policy)
            await self._add_type(agent_id.type, factory, durable=durable)
            await agent_instance.bind_id_and_runtime(agent_id, self)
        except BaseException:
            self._instances.pop(agent_id, None)
            raise
        return agent_id

    async def add_subscription(self, subscription: Subscription) -> None:
        """Subscribe; see `AgentRuntime.add_subscription`."""
        subscription_id = self._declarations.add_subscription(subscription)
        try:
            await self._redeclare("subscription", subscription_id)
        except BaseException:
            self._declarations.drop_subscription(subscription_id)
            self._take_back()
            raise

    async def remove_subscription(self, id: str) -> None:
        """Unsubscribe; see `AgentRuntime.remove_subscription`."""
        self._declarations.drop_subscription(id)
        await self._redeclare("subscription", id)

    async def unregister_factory(self, type: AgentType) -> None:
        """Serve a type no longer; what `BaseAgent.register` does when a later part of it fails."""
        self._declarations.drop_type(type.type)
        self._runner.remove_factory(type.type)
        await self._redeclare("type", type.type)

    async def unregister_agent_instance(self, agent_id: AgentId) -> None:
        """Serve an instance no longer, and its type when it was the last."""
        self._instances.pop(agent_id, None)
        if not any(other.type == agent_id.type for other in self._instances):
            await self.unregister_factory(AgentType(agent_id.type))

    def add_message_serializer(
        self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]
    ) -> None:
        """Let messages of a type be sent and received.

        See `AgentRuntime.add_message_serializer`.
        """
        self._serializers.add_serializer(serializer)

    # Agents.

    async def try_get_underlying_agent_instance(
        self,
        id: AgentId,
        type: type[T] = Agent,  # type: ignore[assignment]
    ) -> T:
        """The instance itself, for tests; see `AgentRuntime`."""
        agent = await self._instance(id)
        if not isinstance(agent, type):
            msg = f"agent {id} is a {agent.__class__.__name__}, not a {type.__name__}"
            raise TypeError(msg)
        return agent

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """The id of an agent; see `AgentRuntime.get`."""
        agent_id = id_or_type if isinstance(id_or_type, AgentId) else AgentId(id_or_type, key)
        if not lazy and agent_id.type in self._declarations.types:
            await self._runner.instance_of(agent_id)
        return agent_id

    async def save_state(self) -> Mapping[str, Any]:
        """The state of every instance in this runtime, by ``type/key``."""
        return {
            str(agent_id): dict(await agent.save_state())
            for agent_id, agent in self._runner.instances.items()
        }

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Give instances the state that `save_state` returned, making those that are missing."""
        for name, agent_state in state.items():
            agent_id = AgentId.parse(name)
            if agent_id.type in self._declarations.types:
                await (await self._runner.instance_of(agent_id)).load_state(agent_state)

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """The metadata of an agent served here."""
        return (await self._instance(agent)).metadata

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """The state of an agent served here."""
        return await (await self._instance(agent)).save_state()

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Give an agent served here its state."""
        await (await self._instance(agent)).load_state(state)

    # Inside.

    def _bind(self, max_event_bytes: int, partitions: int) -> None:
        """Keep to what the host has said.

        The largest event or payload, the number of partitions.
        """
        self._max_event_bytes = max_event_bytes
        self._runner.payloads.max_bytes = max_event_bytes
        self._runner.divide(partitions)

    def _take_calls(self, frame: HostFrame) -> None:
        """The host has said something of calls, made here or to agents here."""
        for call in frame.calls:
            self._runner.call(call)
        self._calls.take(frame.replies)
        for call_id in frame.cancels:
            self._runner.cancel(call_id)
        for credit in frame.credits:
            self._runner.credit(credit.call_id, credit.count)

    def _trace_by(self, tracer: Tracer | None) -> None:
        """Have ``tracer`` make the spans of what is sent and of turns; None: nobody wants them."""
        self._tracer = self._runner.tracer = tracer

    @property
    def _publish_window(self) -> int:
        return 1024

    def _refuse_in_turn(self, what: str) -> None:
        """Raise `NotAllowedNow` where a turn would wait for its own end."""
        turn = self._runner.current_turn()
        if turn is not None and turn.is_run_by(asyncio.current_task()):
            msg = (
                f"a handler cannot wait until its own runtime has {what}, which waits for the "
                "handler to return: do it in a task of its own"
            )
            raise NotAllowedNow(msg)

    async def _instance(self, agent_id: AgentId) -> Agent:
        if agent_id.type not in self._declarations.types:
            msg = f"agent {agent_id} is not served by this process"
            raise NotAccessibleError(msg)
        return await self._runner.instance_of(agent_id)

    async def _add_type(self, name: str, factory: AgentFactory, *, durable: bool) -> None:
        max_concurrency = factory.policy.max_concurrency
        self._declarations.add_type(name, session_only=not durable, max_concurrency=max_concurrency)
        self._runner.add_factory(name, factory)
        try:
            await self._redeclare("type", name)
        except BaseException:
            self._declarations.drop_type(name)
            self._runner.remove_factory(name)
            self._take_back()
            raise

    async def _redeclare(self, entry: str, name: str) -> None:
        for error in await self._declare(self._declarations.registration()):
            if (error.entry, error.name) == (entry, name):
                raise error_of(error.code, error.reason)

    def _take_back(self) -> None:
        """A declaration was given up, maybe after the host had it: say what is served without it.

        Nobody waits for the answer: whoever declared is on the way out.
        """
        with suppress(CallboardError):
            self._declare(self._declarations.registration())

    def _event(
        self, message: Any, topic_id: TopicId, sender: AgentId | None, message_id: str
    ) -> Event:
        written = self._serializers.serialize(message)
        topic = (topic_id.type, topic_id.source)
        address = _address(sender)
        content = self._codec.encode_event(Envelope(*written, message_id, address, topic))
        self._check_size("event", content)
        return Event(content, topic[0], topic[1], address)

    def _deadline(self, timeout_s: float | None) -> float | None:
        """Until when a publish made now may wait for room; None in a turn: not at all."""
        return None if self._runner.current_turn() is not None else _deadline(timeout_s)

    def _send(
        self, event: Event, done: Done, message_id: str | None, deadline: float | None
    ) -> None:
        """Send an event, in a span of its own where there is a tracer.

        Without ``message_id`` the event was encoded elsewhere: what stands in it is read there, and
        a trace context that it holds is kept.
        """
        tracer = self._tracer
        if tracer is not None:
            event, done = self._traced(tracer, event, done, message_id)
        self._send_publish(event, done, deadline)

    def _traced(
        self, tracer: Tracer, event: Event, done: Done, message_id: str | None
    ) -> tuple[Event, Done]:
        content, created = event.content, None
        if message_id is None:
            try:
                envelope = self._codec.decode_event(content)
            except InvalidMessage:
                return event, done  # for who gets it to refuse
            message_id, created = envelope.message_id, envelope.trace
        span = tracer.publish(event, message_id, created)
        if created is None and span.context is not None:
            traced_content = self._codec.with_trace(content, span.context)
            if len(traced_content) <= self._max_event_bytes:
                content = traced_content  # else only the hop tells of the trace

        def ended(error: CallboardError | None) -> None:
            span.end(error)
            done(error)

        traced = Event(content, event.topic_type, event.topic_source, event.sender, span.context)
        return traced, ended

    def _encode(self, message: Any, message_id: str) -> bytes:
        if message is None:
            envelope = _NONE._replace(message_id=message_id)
        else:
            envelope = Envelope(*self._serializers.serialize(message), message_id)
        payload = self._codec.encode_payload(envelope)
        self._check_size("call", payload)
        return payload

    def _decode(self, payload: bytes, sender: AgentId, expected: type[Any] | None) -> Any:
        """The reply in ``payload``."""
        envelope = self._codec.decode_payload(payload)
        if not envelope.type_name:
            return None
        reply = self._serializers.deserialize(
            envelope.data, envelope.type_name, envelope.content_type
        )
        if expected is UnknownPayload:
            return reply
        if expected is None and isinstance(reply, UnknownPayload):
            msg = (
                f"{sender} replied with a {envelope.type_name!r}, a class that this runtime does "
                "not know: name it as reply_type, or give the runtime a serializer of it"
            )
            raise InvalidMessage(msg)
        if expected is not None and not isinstance(reply, expected):
            msg = f"{sender} replied with a {envelope.type_name!r}, not a {expected.__name__}"
            raise InvalidMessage(msg)
        return reply

    def _check_size(self, what: str, content: bytes) -> None:
        if len(content) > self._max_event_bytes:
            raise ResourceExhausted(too_large(what, len(content), self._max_event_bytes))

    def _new_id(self) -> str:
        return f"{_ids.getrandbits(128):032x}"

    async def _intervene_on_send(
        self,
        message: Any,
        sender: AgentId | None,
        recipient: AgentId,
        token: CancellationToken,
        message_id: str,
    ) -> Any:
        context = MessageContext(sender, None, True, token, message_id)  # noqa: FBT003 (a dataclass)
        for handler in self._interventions:
            message = await handler.on_send(message, message_context=context, recipient=recipient)
            if _is_dropped(message):
                msg = f"an intervention handler dropped the call to {recipient}"
                raise MessageDroppedException(msg)
        return message

    async def _intervene_on_response(
        self, message: Any, sender: AgentId, recipient: AgentId | None
    ) -> Any:
        for handler in self._interventions:
            message = await handler.on_response(message, sender=sender, recipient=recipient)
            if _is_dropped(message):
                msg = f"an intervention handler dropped the reply of {sender}"
                raise MessageDroppedException(msg)
        return message


def _deadline(timeout_s: float | None) -> float:
    """Until when a publish made now, outside of a turn, may wait for room."""
    timeout_s = DEFAULT_PUBLISH_TIMEOUT_S if timeout_s is None else timeout_s
    return asyncio.get_running_loop().time() + min(max(timeout_s, 0.0), LONGEST_CALL_S)


def _is_dropped(message: object) -> bool:
    return message is DropMessage or isinstance(message, DropMessage)


def _address(agent_id: AgentId | None) -> Address | None:
    return None if agent_id is None else (agent_id.type, agent_id.key)


def _succeeded(reply: Reply) -> Reply:
    """``reply``, if it is no error; else that is raised."""
    if reply.error is not None:
        raise _error_of(reply.error)
    return reply


def _error_of(failure: CallFailure) -> CallboardError:
    """The error to raise for a failed call; those of the agent layer are not known to the core."""
    match failure.code:
        case Code.UNIMPLEMENTED if not failure.type:
            return CantHandleException(failure.message)
        case Code.ABORTED if not failure.type:
            return MessageDroppedException(failure.message)
        case _:
            return failure.as_error()
