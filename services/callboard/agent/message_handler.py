"""The decorators that make a method a handler, and what they make of it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from enum import Enum
from functools import update_wrapper
from types import MethodType, NoneType
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    NoReturn,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from callboard.agent.annotations import AnyType, hints_of, local_names, message_types, streamed
from callboard.agent.context import MessageContext
from callboard.agent.exceptions import CantHandleException, InvalidHandler
from callboard.core.errors import InvalidMessage

AgentT = TypeVar("AgentT")
ReceivesT = TypeVar("ReceivesT")
ProducesT = TypeVar("ProducesT")

Match: TypeAlias = Callable[[Any, MessageContext], bool]
"""Whether a handler takes a message, which has one of the handler's types."""

_Method: TypeAlias = Callable[[AgentT, ReceivesT, MessageContext], Coroutine[Any, Any, ProducesT]]
_Streaming: TypeAlias = Callable[[AgentT, ReceivesT, MessageContext], AsyncIterator[ProducesT]]

log = logging.getLogger(__name__)


class Takes(Enum):
    """What a handler takes."""

    ALL = "message_handler"
    EVENTS = "event"
    CALLS = "rpc"


class MessageHandler(Generic[AgentT, ReceivesT, ProducesT]):
    """A method of an agent class that handles messages; called on an agent it runs the method.

    Its shape is checked when the class is made. Its annotations are read then too; those that name
    what is not defined yet are read when the class is first used.

    Attributes:
        router: Whether the handler takes a message, given that it has one of its types.
        streams: Whether it is a `StreamHandler`.
    """

    is_message_handler: Literal[True] = True
    streams: ClassVar[bool] = False
    __name__: str
    __qualname__: str

    def __init__(
        self,
        method: _Method[AgentT, ReceivesT, ProducesT],
        takes: Takes,
        match: Match | None,
        *,
        strict: bool,
    ) -> None:
        self.method = method
        self._takes = takes
        self._strict = strict
        self._name = getattr(method, "__qualname__", repr(method))
        self._message_name = self._check_shape()
        self._local = self._local_names()
        self._types: tuple[tuple[type, ...], tuple[type, ...]] | None = None
        self.router: Match = _router(takes, match)
        update_wrapper(cast("Any", self), method)
        with suppress(NameError, AttributeError):  # defined later, perhaps: see _resolve
            self._read_annotations()

    @property
    def target_types(self) -> tuple[type, ...]:
        """The classes of the messages it handles; `AnyType` among them for ``Any``."""
        return (self._types or self._resolve())[0]

    @property
    def produces_types(self) -> tuple[type, ...]:
        """The classes of what it returns or yields; `AnyType` among them for ``Any``."""
        return (self._types or self._resolve())[1]

    @overload
    def __get__(
        self, instance: None, owner: type
    ) -> MessageHandler[AgentT, ReceivesT, ProducesT]: ...

    @overload
    def __get__(
        self, instance: AgentT, owner: type
    ) -> Callable[[ReceivesT, MessageContext], Coroutine[Any, Any, ProducesT]]: ...

    def __get__(self, instance: AgentT | None, owner: type) -> Any:
        """As a function does it: itself from the class, bound to the agent from an instance."""
        return self if instance is None else MethodType(self, instance)

    async def __call__(self, agent: AgentT, message: ReceivesT, ctx: MessageContext) -> ProducesT:
        """Run the method, as agents do among themselves and tests do.

        Raises:
            CantHandleException: It is strict, and the message has none of its types.
            InvalidMessage: It is strict, and returned what its annotation does not say.
        """
        self._check_target(message)
        return self.checked(await self.method(agent, message, ctx))

    def stream(
        self, agent: AgentT, message: ReceivesT, ctx: MessageContext
    ) -> AsyncGenerator[ProducesT, None]:
        """What the method yields; of a handler that `streams` only."""
        raise NotImplementedError

    def checked(self, result: ProducesT) -> ProducesT:
        """What the method returned or yielded, if its annotation says so.

        Raises:
            InvalidMessage: It is strict, and the annotation says otherwise.
        """
        produced = (self._types or self._resolve())[1]
        if type(result) in produced or AnyType in produced:
            return result
        verb = "yielded" if self.streams else "returned"
        msg = f"{self._name} {verb} a {type(result).__qualname__}, not {_names(produced)}"
        if self._strict:
            raise InvalidMessage(msg)
        log.warning(msg)
        return cast("ProducesT", None) if self._takes is Takes.EVENTS else result

    def _check_target(self, message: ReceivesT) -> None:
        targets = self.target_types
        if type(message) not in targets and AnyType not in targets:
            msg = f"{self._name} handles {_names(targets)}, not {type(message).__qualname__}"
            if self._strict:
                raise CantHandleException(msg)
            log.warning(msg)

    def _check_shape(self) -> str:
        """The name of the message parameter, if the method is what a handler has to be."""
        method = inspect.unwrap(self.method)
        if self.streams and self._takes is Takes.EVENTS:
            self._refuse("it is an async generator, and an event has no reply: use @rpc")
        if not self.streams and not (
            inspect.iscoroutinefunction(self.method) or inspect.iscoroutinefunction(method)
        ):
            self._refuse("it must be a method written with async def")
        parameters = list(inspect.signature(self.method).parameters.values())
        positional = [each for each in parameters if each.kind in _POSITIONAL]
        required = [each for each in parameters if each.default is each.empty]
        if len(positional) != 3 or any(each not in positional for each in required):  # noqa: PLR2004 (as the text says)
            self._refuse("its parameters must be self, the message and the context")
        annotated = getattr(self.method, "__annotations__", {})
        if positional[1].name not in annotated:
            self._refuse(f"annotate {positional[1].name} with the type of the messages")
        if "return" not in annotated:
            self._refuse("annotate what it returns, -> None if nothing")
        return positional[1].name

    def _local_names(self) -> dict[str, Any]:
        return local_names(self._name, getattr(self.method, "__module__", None))

    def _resolve(self) -> tuple[tuple[type, ...], tuple[type, ...]]:
        """Read annotations that named what was not there when the class was made."""
        self._local = self._local_names() | self._local
        try:
            return self._read_annotations()
        except (NameError, AttributeError) as error:
            self._refuse(f"an annotation names what is not defined: {error}", error)

    def _read_annotations(self) -> tuple[tuple[type, ...], tuple[type, ...]]:
        method = inspect.unwrap(self.method)
        hints = hints_of(method, (self._message_name, "return"), self._local)
        try:
            targets = message_types(hints[self._message_name])
            produced = message_types(streamed(hints["return"]) if self.streams else hints["return"])
        except TypeError as error:
            self._refuse(str(error), error)
        if self._takes is Takes.EVENTS and not {NoneType, AnyType}.issuperset(produced):
            self._refuse("an event has no reply: annotate -> None, or use @rpc")
        self._types = (targets, produced)
        self._local = {}
        return self._types

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        msg = f"@{self._takes.value} {self._name}: {reason}"
        raise InvalidHandler(msg) from cause


class StreamHandler(MessageHandler[AgentT, ReceivesT, ProducesT]):
    """A handler that is an async generator: each message that it yields is a reply.

    Called on an agent it gives what the method does.
    """

    streams: ClassVar[bool] = True

    def __init__(
        self,
        method: _Streaming[AgentT, ReceivesT, ProducesT],
        takes: Takes,
        match: Match | None,
        *,
        strict: bool,
    ) -> None:
        self._generate = method
        super().__init__(cast("Any", method), takes, match, strict=strict)

    @overload  # type: ignore[override]  # it is an iterator that it gives
    def __get__(
        self, instance: None, owner: type
    ) -> StreamHandler[AgentT, ReceivesT, ProducesT]: ...

    @overload
    def __get__(
        self, instance: AgentT, owner: type
    ) -> Callable[[ReceivesT, MessageContext], AsyncIterator[ProducesT]]: ...

    def __get__(self, instance: AgentT | None, owner: type) -> Any:
        """As a function does it: itself from the class, bound to the agent from an instance."""
        return super().__get__(instance, owner)

    def __call__(  # type: ignore[override]  # the same
        self, agent: AgentT, message: ReceivesT, ctx: MessageContext
    ) -> AsyncIterator[ProducesT]:
        """Run the method, as agents do among themselves and tests do.

        Raises:
            CantHandleException: It is strict, and the message has none of its types.
            InvalidMessage: It is strict, and yielded what its annotation does not say.
        """
        self._check_target(message)
        return self.stream(agent, message, ctx)

    async def stream(
        self, agent: AgentT, message: ReceivesT, ctx: MessageContext
    ) -> AsyncGenerator[ProducesT, None]:
        """What the method yields. The method is closed with it."""
        replies: Any = self._generate(agent, message, ctx)
        async with aclosing(replies):
            async for reply in replies:
                yield self.checked(reply)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _router(takes: Takes, match: Match | None) -> Match:
    if takes is Takes.ALL:
        return match or (lambda _message, _ctx: True)
    is_rpc = takes is Takes.CALLS
    if match is None:
        return lambda _message, ctx: ctx.is_rpc is is_rpc
    return lambda message, ctx: ctx.is_rpc is is_rpc and match(message, ctx)


def _names(types: tuple[type, ...]) -> str:
    return " or ".join(each.__qualname__ for each in types)


class HandlerDecorator(Protocol):
    """Makes a method a handler."""

    @overload
    def __call__(
        self, method: _Method[AgentT, ReceivesT, ProducesT], /
    ) -> MessageHandler[AgentT, ReceivesT, ProducesT]: ...

    @overload
    def __call__(
        self, method: _Streaming[AgentT, ReceivesT, ProducesT], /
    ) -> StreamHandler[AgentT, ReceivesT, ProducesT]: ...

    def __call__(self, method: Any, /) -> Any:
        """The handler."""
        ...


class EventHandlerDecorator(Protocol):
    """Makes a method without a reply a handler."""

    def __call__(
        self, method: _Method[AgentT, ReceivesT, None], /
    ) -> MessageHandler[AgentT, ReceivesT, None]:
        """The handler."""
        ...


@overload
def message_handler(
    func: _Method[AgentT, ReceivesT, ProducesT],
) -> MessageHandler[AgentT, ReceivesT, ProducesT]: ...


@overload
def message_handler(
    func: _Streaming[AgentT, ReceivesT, ProducesT],
) -> StreamHandler[AgentT, ReceivesT, ProducesT]: ...


@overload
def message_handler(
    func: None = None, *, match: Match | None = ..., strict: bool = ...
) -> HandlerDecorator: ...


def message_handler(
    func: _Method[Any, Any, Any] | _Streaming[Any, Any, Any] | None = None,
    *,
    strict: bool = True,
    match: Match | None = None,
) -> Any:
    """A method decorator: handle events and calls of the types that ``message`` is annotated with.

    The method is ``async def name(self, message: Type, ctx: MessageContext) -> Reply``. ``Type`` is
    a class of messages, a union of some, or ``Any``; ``Reply`` likewise, or ``None``. A handler
    gets what is of exactly these classes; one for ``Any`` what no other takes.

    One that is an async generator, ``-> AsyncIterator[Reply]``, streams: each message that it
    yields is a reply, for `AgentRuntime.stream_message`. It goes on as the caller takes them.

    Of several handlers for a class the first that takes the message runs, in alphabetical order.

    Args:
        func: The method.
        strict: Whether what the annotations do not say is an error, or a warning in the log.
        match: Whether to take a message of the right type; None takes all.

    Raises:
        InvalidHandler: The method can never be a handler; the text says why.
    """
    return _decorated(func, Takes.ALL, match, strict=strict)


@overload
def event(
    func: _Method[AgentT, ReceivesT, None],
) -> MessageHandler[AgentT, ReceivesT, None]: ...


@overload
def event(
    func: None = None, *, match: Match | None = ..., strict: bool = ...
) -> EventHandlerDecorator: ...


def event(
    func: _Method[Any, Any, None] | None = None,
    *,
    strict: bool = True,
    match: Match | None = None,
) -> Any:
    """A method decorator: as `message_handler`, for events only. The method returns None.

    Raises:
        InvalidHandler: The method can never be a handler; the text says why.
    """
    return _decorated(func, Takes.EVENTS, match, strict=strict)


@overload
def rpc(
    func: _Method[AgentT, ReceivesT, ProducesT],
) -> MessageHandler[AgentT, ReceivesT, ProducesT]: ...


@overload
def rpc(
    func: _Streaming[AgentT, ReceivesT, ProducesT],
) -> StreamHandler[AgentT, ReceivesT, ProducesT]: ...


@overload
def rpc(
    func: None = None, *, match: Match | None = ..., strict: bool = ...
) -> HandlerDecorator: ...


def rpc(
    func: _Method[Any, Any, Any] | _Streaming[Any, Any, Any] | None = None,
    *,
    strict: bool = True,
    match: Match | None = None,
) -> Any:
    """A method decorator: as `message_handler`, for calls only.

    Raises:
        InvalidHandler: The method can never be a handler; the text says why.
    """
    return _decorated(func, Takes.CALLS, match, strict=strict)


def _decorated(func: Any, takes: Takes, match: Match | None, *, strict: bool) -> Any:
    def decorate(method: Any) -> MessageHandler[Any, Any, Any]:
        is_generator = inspect.isasyncgenfunction(inspect.unwrap(method))
        kind = StreamHandler if is_generator else MessageHandler
        return kind(method, takes, match, strict=strict)

    return decorate if func is None else decorate(func)
