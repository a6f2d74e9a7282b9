"""The agent that most authors write: one method for each kind of message."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, TypeAlias

from callboard.agent.annotations import AnyType
from callboard.agent.base_agent import BaseAgent, Handled, serializers_of
from callboard.agent.context import MessageContext
from callboard.agent.exceptions import CantHandleException, InvalidHandler
from callboard.agent.message_handler import MessageHandler, event, message_handler, rpc
from callboard.agent.serialization import UnknownPayload
from callboard.core.errors import InvalidMessage

__all__ = ["RoutedAgent", "event", "message_handler", "rpc"]

_Handlers: TypeAlias = list[MessageHandler[Any, Any, Any]]
_Routes: TypeAlias = dict[type, _Handlers]


def _is_handler(attribute: object) -> bool:
    return isinstance(attribute, MessageHandler)


class RoutedAgent(BaseAgent):
    """An agent whose methods, decorated with `event`, `rpc` or `message_handler`, handle messages.

    A message goes to the first method, in alphabetical order, that handles its very class and takes
    it (``match``, event or call), then to the first for ``Any``. Handlers are inherited; an
    overriding method has to be decorated again, and ``name = None`` takes a handler away.

    Raises:
        InvalidHandler: From the class statement, if a method can never be a handler.
    """

    _routes_found: ClassVar[_Routes | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._routes_found = None
        for name, attribute in vars(cls).items():
            if not callable(attribute) or _is_handler(attribute):
                continue
            if _is_handler(inspect.unwrap(attribute, stop=_is_handler)):
                msg = f"{cls.__qualname__}.{name}: the decorator of a handler must be the outermost"
                raise InvalidHandler(msg)
            if _is_handler(getattr(super(cls, cls), name, None)):
                msg = (
                    f"{cls.__qualname__}.{name} overrides a handler and is none: decorate it too, "
                    f"or write {name} = None"
                )
                raise InvalidHandler(msg)

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        """Hand a message to its handler. Not to be overridden: add handlers."""
        routes = self._routes_found or self._routes()
        for handler in routes.get(type(message), ()):
            if handler.router(message, ctx):
                if handler.streams:
                    return handler.stream(self, message, ctx)
                return handler.checked(await handler.method(self, message, ctx))
        for handler in routes.get(AnyType, ()):
            if handler.router(message, ctx):
                if handler.streams:
                    return handler.stream(self, message, ctx)
                return handler.checked(await handler.method(self, message, ctx))
        return await self.on_unhandled_message(message, ctx)

    async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
        """Called for a message that no handler takes. Override it to ignore such messages.

        Raises:
            CantHandleException: Always, so that the sender of a call, or the dead letter of an
                event, says what was wrong.
        """
        kind = "call" if ctx.is_rpc else "event"
        handled = sorted(each.__qualname__ for each in self._routes())
        if isinstance(message, UnknownPayload):
            reason = (
                f"a {kind} of type {message.type_name!r} ({message.data_content_type}): it has no "
                "serializer here"
            )
        elif type(message) in self._routes():
            reason = f"this {kind}: none of its handlers of {type(message).__qualname__} takes it"
        else:
            reason = f"a {kind} of type {type(message).__qualname__}"
        agent = self._id.type if self._id else type(self).__qualname__
        msg = f"agent type {agent!r} cannot handle {reason}; it handles {', '.join(handled)}"
        raise CantHandleException(msg)

    @classmethod
    def _discover_handlers(cls) -> _Handlers:
        """The handlers of the class, the inherited ones included, in alphabetical order."""
        found = (getattr(cls, name, None) for name in sorted(dir(cls)))
        return [each for each in found if isinstance(each, MessageHandler)]

    @classmethod
    def _routes(cls) -> _Routes:
        """The handlers of each message class; found once for each agent class."""
        if cls._routes_found is None:
            routes: _Routes = {}
            for handler in cls._discover_handlers():
                for target in handler.target_types:
                    routes.setdefault(target, []).append(handler)
            cls._routes_found = routes
        return cls._routes_found

    @classmethod
    def _handles_types(cls) -> list[Handled]:
        """The types that handlers take and return, with their serializers."""
        handled = list(super()._handles_types())
        known = {cls for cls, _ in handled} | {AnyType, UnknownPayload}
        for handler in cls._discover_handlers():
            for each in (*handler.target_types, *handler.produces_types):
                if each in known:
                    continue
                known.add(each)
                try:
                    handled.append((each, serializers_of(each)))
                except InvalidMessage as error:
                    error.add_note(f"needed by {handler.__qualname__}")
                    raise
        return handled
