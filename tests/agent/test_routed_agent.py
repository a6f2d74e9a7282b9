"""Which handler a message goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from callboard import (
    CancellationToken,
    CantHandleException,
    InvalidHandler,
    InvalidMessage,
    MessageContext,
    RoutedAgent,
    UnknownPayload,
    event,
    handles,
    message_handler,
    rpc,
)


@dataclass
class Ask:
    text: str


@dataclass
class Tell:
    text: str


@dataclass
class Shout(Tell):
    """A subclass of a message that is handled."""


def context(*, is_rpc: bool) -> MessageContext:
    return MessageContext(
        None, None, is_rpc=is_rpc, cancellation_token=CancellationToken(), message_id="1"
    )


CALL, EVENT = context(is_rpc=True), context(is_rpc=False)


class Sorter(RoutedAgent):
    """Says which of its handlers ran."""

    def __init__(self) -> None:
        super().__init__("test")
        self.ran: list[str] = []

    @message_handler(match=lambda message, ctx: message.text == "b")
    async def b_matching(self, message: Ask, ctx: MessageContext) -> str:
        return "b_matching"

    @message_handler(match=lambda message, ctx: message.text in {"a", "b"})
    async def a_matching(self, message: Ask, ctx: MessageContext) -> str:
        return "a_matching"

    @rpc
    async def y_calls(self, message: Ask | Tell, ctx: MessageContext) -> str:
        return "y_calls"

    @event
    async def z_events(self, message: Ask, ctx: MessageContext) -> None:
        self.ran.append("z_events")


async def test_the_first_handler_that_takes_a_message_runs() -> None:
    """Handlers are asked in alphabetical order, whatever order they are written in."""
    agent = Sorter()

    assert await agent.on_message(Ask("b"), CALL) == "a_matching"
    assert await agent.on_message(Ask("c"), CALL) == "y_calls"
    assert await agent.on_message(Tell("b"), CALL) == "y_calls"
    assert await agent.on_message(Ask("c"), EVENT) is None
    assert agent.ran == ["z_events"]


@pytest.mark.parametrize(
    ("message", "ctx", "reason"),
    [
        (3, CALL, "agent type 'Sorter' cannot handle a call of type int; it handles Ask, Tell"),
        (Shout("a"), CALL, "a call of type Shout"),
        (Tell("a"), EVENT, "this event: none of its handlers of Tell takes it"),
        (UnknownPayload("Ask", "text/plain", b""), EVENT, "type 'Ask' .*no serializer here"),
    ],
)
async def test_what_no_handler_takes_is_an_error(
    message: Any, ctx: MessageContext, reason: str
) -> None:
    """It names the agent type, the message type and what the agent does handle."""
    with pytest.raises(CantHandleException, match=reason):
        await Sorter().on_message(message, ctx)


async def test_an_agent_may_ignore_what_it_does_not_handle() -> None:
    """``on_unhandled_message`` is there to be overridden."""

    class Relaxed(Sorter):
        async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
            self.ran.append(f"ignored {message}")

    agent = Relaxed()

    assert await agent.on_message(3, CALL) is None
    assert agent.ran == ["ignored 3"]


async def test_a_handler_of_anything_takes_what_is_left() -> None:
    """``Any`` comes after the handlers of the very class, also alphabetically before them."""

    class Greedy(Sorter):
        @message_handler
        async def anything(self, message: Any, ctx: MessageContext) -> str:
            return "anything"

    assert await Greedy().on_message(3, EVENT) == "anything"
    assert await Greedy().on_message(Tell(""), EVENT) == "anything"
    assert await Greedy().on_message(Tell(""), CALL) == "y_calls"


async def test_handlers_are_inherited_overridden_and_removed() -> None:
    """A subclass has its bases' handlers, its own in their place, and none where it says None."""

    class Child(Sorter):
        a_matching = None  # type: ignore[assignment]  # takes the handler away

        @rpc
        async def y_calls(self, message: Ask | Tell, ctx: MessageContext) -> str:
            return "child " + await super().y_calls(message, ctx)

    assert await Child().on_message(Ask("b"), CALL) == "b_matching"
    assert await Child().on_message(Tell("b"), CALL) == "child y_calls"
    assert await Sorter().on_message(Tell("b"), CALL) == "y_calls"


def test_an_override_without_decorator_is_refused() -> None:
    """The base's handler would be lost without a word."""
    with pytest.raises(InvalidHandler, match=r"Child\.y_calls overrides a handler and is none"):

        class Child(Sorter):
            async def y_calls(self, message: Ask | Tell, ctx: MessageContext) -> str:
                return "lost"


async def test_handlers_may_come_from_mixins() -> None:
    """A handler is one wherever the class gets it from."""

    class Mixin:
        @rpc
        async def count(self, message: int, ctx: MessageContext) -> int:
            return message + 1

    class Mixed(Mixin, Sorter):
        pass

    assert await Mixed().on_message(3, CALL) == 4


async def test_a_reply_that_the_annotation_does_not_say_is_an_error() -> None:
    """The caller could not read it, so the handler fails."""

    class Wrong(RoutedAgent):
        @rpc
        async def handle(self, message: Ask, ctx: MessageContext) -> Tell:
            return message  # type: ignore[return-value]  # the point

    with pytest.raises(InvalidMessage, match=r"handle returned a Ask, not Tell"):
        await Wrong("test").on_message(Ask("a"), CALL)


async def test_an_agent_works_without_its_base_constructor() -> None:
    """A class that forgets ``super().__init__`` still routes, and has an empty description."""

    class Forgetful(Sorter):
        def __init__(self) -> None:
            self.ran = []

    assert await Forgetful().on_message(Tell("a"), CALL) == "y_calls"


async def test_an_agent_may_handle_what_cannot_be_read() -> None:
    """``UnknownPayload`` is a class like any other for handlers, and needs no serializer."""

    class Forwarder(RoutedAgent):
        @message_handler
        async def forward(self, message: UnknownPayload, ctx: MessageContext) -> UnknownPayload:
            return message

    payload = UnknownPayload("Ask", "text/plain", b"hi")

    assert await Forwarder("test").on_message(payload, CALL) is payload
    assert Forwarder._handles_types() == []


def test_the_types_of_handlers_bring_their_serializers() -> None:
    """What handlers take and return can be read where they are registered."""
    handled = {cls: [each.type_name for each in found] for cls, found in Sorter._handles_types()}

    assert handled == {Ask: ["Ask"], Tell: ["Tell"], str: ["str"], type(None): ["NoneType"]}


class Handmade:
    """A class that Callboard has no serializer for."""


class HandmadeSerializer:
    type_name = "Handmade"
    data_content_type = "text/plain"

    def serialize(self, message: Handmade) -> bytes:
        return b""

    def deserialize(self, payload: bytes) -> Handmade:
        return Handmade()


def test_a_handled_type_needs_a_serializer() -> None:
    """A type of an unknown kind is an error at registration, unless the class brings one."""

    class Missing(RoutedAgent):
        @event
        async def handle(self, message: Handmade, ctx: MessageContext) -> None: ...

    serializer = HandmadeSerializer()

    @handles(Handmade, serializer)
    class Bringing(Missing):
        pass

    with pytest.raises(InvalidMessage, match="no serializer for Handmade") as caught:
        Missing._handles_types()
    assert "Missing.handle" in caught.value.__notes__[0]
    with pytest.raises(InvalidMessage, match="no serializer for Handmade"):
        handles(Handmade)
    assert (Handmade, [serializer]) in Bringing._handles_types()
