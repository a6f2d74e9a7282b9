"""What may be a handler, and what its annotations mean."""

from __future__ import annotations

import functools
import logging
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NewType, TypeVar

import pytest
from typing_extensions import TypeAliasType

from callboard import (
    CancellationToken,
    CantHandleException,
    InvalidHandler,
    InvalidMessage,
    MessageContext,
    RoutedAgent,
    event,
    message_handler,
    rpc,
)
from callboard.agent.annotations import AnyType

if TYPE_CHECKING:
    from callboard import MessageContext as OnlyForTypeCheckers

T = TypeVar("T")


@dataclass
class Ask:
    text: str


@dataclass
class Tell:
    text: str


@dataclass
class Box(Generic[T]):
    content: T


Either = Ask | Tell
Renamed = NewType("Renamed", Ask)
Alias = TypeAliasType("Alias", Ask | Tell)

CALL = MessageContext(
    None, None, is_rpc=True, cancellation_token=CancellationToken(), message_id="1"
)
EVENT = MessageContext(
    None, None, is_rpc=False, cancellation_token=CancellationToken(), message_id="1"
)


class Agent(RoutedAgent):
    """What handlers in these tests belong to."""

    def __init__(self) -> None:
        super().__init__("test")


@pytest.mark.parametrize(
    ("annotation", "classes"),
    [
        (Ask, (Ask,)),
        (Either, (Ask, Tell)),
        (Ask | None, (Ask, type(None))),
        (None, (type(None),)),
        (Any, (AnyType,)),
        (Annotated[Ask, "why"], (Ask,)),
        (Renamed, (Ask,)),
        (Alias, (Ask, Tell)),
        (Literal["a", "b", 3], (str, int)),
        (list[str], (list,)),
        (dict[str, Any] | list[int | None], (dict, list)),
        (Box, (Box,)),
    ],
)
def test_annotations_name_classes(annotation: Any, classes: tuple[type, ...]) -> None:
    """A handler handles the classes that its annotation comes to."""

    class Sample(Agent):
        @message_handler
        async def handle(self, message: annotation, ctx: MessageContext) -> annotation: ...

    assert Sample.handle.target_types == classes
    assert Sample.handle.produces_types == classes


@pytest.mark.parametrize(
    "annotation", [list[Ask], dict[str, Ask], Box[int], Callable[[], int], T, tuple[int, int], 3]
)
def test_other_annotations_are_refused_with_the_class(annotation: Any) -> None:
    """What no message can be is an error of the class statement that names the handler."""
    with pytest.raises(InvalidHandler, match=r"@event .*Sample\.handle: .* no class"):

        class Sample(Agent):
            @event
            async def handle(self, message: annotation, ctx: MessageContext) -> None: ...


def refused(match: str) -> Any:
    return pytest.raises(InvalidHandler, match=match)


def test_a_handler_must_be_a_coroutine() -> None:
    """``def`` instead of ``async def`` is an error of the class statement."""
    with refused("must be a method written with async def"):

        class Sample(Agent):
            @event  # type: ignore[arg-type]  # the point
            def handle(self, message: Ask, ctx: MessageContext) -> None: ...


@pytest.mark.parametrize(
    ("annotation", "classes"),
    [
        (AsyncIterator[Tell], (Tell,)),
        (AsyncIterable[Tell | None], (Tell, type(None))),
        (AsyncGenerator[Tell, None], (Tell,)),
        (typing.AsyncIterator[Any], (AnyType,)),
    ],
)
def test_a_handler_that_streams_says_what_it_yields(
    annotation: Any, classes: tuple[type, ...]
) -> None:
    """An async generator is annotated as one; the classes are those of its messages."""

    class Sample(Agent):
        @rpc
        async def handle(self, message: Ask, ctx: MessageContext) -> annotation:
            yield Tell("a")

    assert Sample.handle.streams
    assert Sample.handle.produces_types == classes


@pytest.mark.parametrize("annotation", [Tell, None, list[Tell], AsyncIterator])
def test_a_handler_that_streams_must_not_say_that_it_returns(annotation: Any) -> None:
    """The error says how it is written."""
    with refused(r"annotate -> AsyncIterator\[Reply\]"):

        class Sample(Agent):
            @rpc
            async def handle(self, message: Ask, ctx: MessageContext) -> annotation:
                yield Tell("a")


def test_a_handler_of_events_does_not_stream() -> None:
    """Nobody would get what it yields."""
    with refused("an event has no reply"):

        class Sample(Agent):
            @event  # type: ignore[arg-type]  # the point
            async def handle(self, message: Ask, ctx: MessageContext) -> AsyncIterator[None]:
                yield None


async def test_a_handler_that_streams_can_be_called_by_its_own_agent() -> None:
    """It gives what the method yields, and checks it."""

    class Sample(Agent):
        @rpc
        async def handle(self, message: Ask, ctx: MessageContext) -> AsyncIterator[Tell]:
            yield Tell("a")
            yield message  # type: ignore[misc]  # the point

    told = Sample().handle(Ask("?"), CALL)
    assert await anext(told) == Tell("a")
    with pytest.raises(InvalidMessage, match=r"Sample.handle yielded a Ask, not Tell"):
        await anext(told)
    with pytest.raises(CantHandleException, match="handles Ask, not Tell"):
        Sample().handle(Tell("a"), CALL)  # type: ignore[arg-type]  # the point


def test_a_handler_takes_message_and_context() -> None:
    """Too few parameters, too many, or required keywords are an error of the class statement."""
    with refused("its parameters must be self, the message and the context"):

        class TooFew(Agent):
            @event  # type: ignore[arg-type]  # the point
            async def handle(self, message: Ask) -> None: ...

    with refused("its parameters must be"):

        class TooMany(Agent):
            @event  # type: ignore[arg-type]  # the point
            async def handle(self, message: Ask, ctx: MessageContext, more: int) -> None: ...

    with refused("its parameters must be"):

        class Keyword(Agent):
            @event  # type: ignore[arg-type]  # the point
            async def handle(self, message: Ask, ctx: MessageContext, *, more: int) -> None: ...


def test_a_handler_is_annotated() -> None:
    """Without annotations nobody knows what to route to it and what it replies."""
    with refused("annotate message with the type of the messages"):

        class NoMessage(Agent):
            @event
            async def handle(self, message, ctx: MessageContext) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 (the point)

    with refused("annotate what it returns"):

        class NoReturn(Agent):
            @event
            async def handle(self, message: Ask, ctx: MessageContext): ...  # type: ignore[no-untyped-def]  # noqa: ANN202 (the point)


def test_an_event_has_no_reply() -> None:
    """An event handler annotated with a reply is an error of the class statement."""
    with refused("an event has no reply"):

        class Sample(Agent):
            @event  # type: ignore[arg-type]  # the point
            async def handle(self, message: Ask, ctx: MessageContext) -> Tell:
                return Tell(message.text)


def test_only_the_annotations_that_matter_are_looked_up() -> None:
    """A context imported for type checkers only does no harm."""

    class Sample(Agent):
        @event
        async def handle(self, message: Ask, ctx: OnlyForTypeCheckers) -> None: ...

    assert Sample.handle.target_types == (Ask,)


def test_types_defined_in_functions_are_found() -> None:
    """Also those of an outer function, of the agent class itself, and redefined names."""

    @dataclass
    class Outer: ...

    def make() -> type[Agent]:
        @dataclass
        class Inner: ...

        class Tell: ...  # another one

        class Sample(Agent):
            class Own: ...

            @message_handler
            async def handle(self, message: Outer | Inner | Own, ctx: MessageContext) -> Tell: ...  # type: ignore[empty-body]

        assert Sample.handle.target_types == (Outer, Inner, Sample.Own)
        assert Sample.handle.produces_types == (Tell,)
        return Sample

    assert make().handle.target_types[0] is Outer  # type: ignore[attr-defined]  # see above


class Early(Agent):
    @rpc
    async def handle(self, message: Late, ctx: MessageContext) -> Late | None: ...


@dataclass
class Late:
    """Defined after the agent that handles it."""


def test_types_defined_after_the_agent_are_found() -> None:
    """Annotations that name what comes later are read when the class is first used."""
    assert Early.handle.target_types == (Late,)


def test_local_types_defined_after_the_agent_are_found() -> None:
    """As long as the function that defines them runs."""

    class Sample(Agent):
        @event
        async def handle(self, message: After, ctx: MessageContext) -> None: ...

    @dataclass
    class After: ...

    assert Sample.handle.target_types == (After,)


def test_a_name_that_never_comes_is_told_on_first_use() -> None:
    """A misspelt type is an error that names handler and type, not a handler that never runs."""

    class Sample(Agent):
        @event
        async def handle(self, message: Misspelt, ctx: MessageContext) -> None: ...  # type: ignore[name-defined]  # noqa: F821 (the point)

    with refused(r"Sample\.handle: .*'Misspelt' is not defined"):
        _ = Sample.handle.target_types


def test_a_handler_may_wrap_a_decorated_method() -> None:
    """The annotations are those of the method at the core."""

    def twice(method: Any) -> Any:
        @functools.wraps(method)
        async def run(*args: Any) -> Any:
            await method(*args)
            return await method(*args)

        return run

    class Sample(Agent):
        @event
        @twice
        async def handle(self, message: Ask, ctx: MessageContext) -> None: ...

    assert Sample.handle.target_types == (Ask,)


def test_a_decorator_around_a_handler_is_refused() -> None:
    """Wrapped once more, the handler would be lost without a word."""

    def logged(method: Any) -> Any:
        @functools.wraps(method)
        async def run(*args: Any) -> Any:
            return await method(*args)

        return run

    with refused("the decorator of a handler must be the outermost"):

        class Sample(Agent):
            @logged
            @event
            async def handle(self, message: Ask, ctx: MessageContext) -> None: ...


class Echo(Agent):
    @message_handler
    async def echo(self, message: Ask | Tell, ctx: MessageContext) -> Tell | None:
        """Say it again."""
        return Tell(message.text) if message.text else None

    @rpc(match=lambda message, ctx: message.text == "!")
    async def shout(self, message: Ask, ctx: MessageContext) -> Tell:
        return message  # type: ignore[return-value]  # the point

    @event(strict=False)
    async def lax(self, message: Ask, ctx: MessageContext) -> None:
        return message.text  # type: ignore[return-value]  # the point


async def test_a_handler_can_be_called_as_a_method() -> None:
    """Agents among themselves, subclasses and tests call it like any method."""
    agent = Echo()

    assert await agent.echo(Ask("hi"), EVENT) == Tell("hi")
    assert await Echo.echo(agent, Tell(""), CALL) is None
    assert Echo.echo.__name__ == "echo"
    assert Echo.echo.__doc__ == "Say it again."


async def test_called_directly_it_refuses_other_messages() -> None:
    """A message of another class than its annotation says is an error that names both."""
    with pytest.raises(CantHandleException, match=r"Echo\.echo handles Ask or Tell, not str"):
        await Echo().echo("hi", EVENT)  # type: ignore[arg-type]  # the point


async def test_a_reply_that_the_annotation_does_not_say_is_an_error() -> None:
    """The caller could not read it, so the handler is told."""
    with pytest.raises(InvalidMessage, match=r"Echo\.shout returned a Ask, not Tell"):
        await Echo().shout(Ask("hi"), CALL)


async def test_not_strict_it_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    """Without ``strict`` what the annotations do not say goes to the log."""
    with caplog.at_level(logging.WARNING):
        assert await Echo().lax(Tell("hi"), EVENT) is None  # type: ignore[arg-type,func-returns-value]  # the point

    assert [record.getMessage() for record in caplog.records] == [
        "Echo.lax handles Ask, not Tell",
        "Echo.lax returned a str, not NoneType",
    ]


@pytest.mark.parametrize(
    ("handler", "text", "takes_event", "takes_call"),
    [
        (Echo.echo, "hi", True, True),
        (Echo.lax, "hi", True, False),
        (Echo.shout, "hi", False, False),
        (Echo.shout, "!", False, True),
    ],
)
def test_the_router_knows_events_calls_and_match(
    handler: Any, text: str, *, takes_event: bool, takes_call: bool
) -> None:
    """``@event`` takes events, ``@rpc`` calls, ``@message_handler`` both; ``match`` narrows it."""
    assert handler.router(Ask(text), EVENT) is takes_event
    assert handler.router(Ask(text), CALL) is takes_call
