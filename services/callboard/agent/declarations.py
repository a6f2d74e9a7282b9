"""What a runtime serves, as it declares it to a host."""

from __future__ import annotations

from callboard.core.errors import AlreadyRegistered, InvalidIdentifier, NotFound
from callboard.core.frames import Registration, SubscriptionEntry, TypeEntry
from callboard.core.subscription import Subscription, TypePrefixSubscription, TypeSubscription


class Declarations:
    """The types and subscriptions of one runtime.

    Each change is declared whole, under a new revision.
    """

    def __init__(self) -> None:
        self.types: dict[str, TypeEntry] = {}
        self._subscriptions: dict[str, SubscriptionEntry] = {}
        self._said: set[tuple[str, str, str]] = set()
        self._revision = 0

    def add_type(self, name: str, *, session_only: bool, max_concurrency: int = 1) -> None:
        """Serve a type. Raises `AlreadyRegistered` when it is served."""
        if name in self.types:
            msg = f"agent type {name!r} is registered in this runtime already"
            raise AlreadyRegistered(msg)
        self.types[name] = TypeEntry(name, session_only, max_concurrency=max_concurrency)

    def drop_type(self, name: str) -> None:
        """Serve a type no longer. Idempotent."""
        self.types.pop(name, None)

    def add_subscription(self, subscription: Subscription) -> str:
        """Subscribe; the subscription's id. Raises `AlreadyRegistered` for its id or content."""
        entry = _entry_of(subscription)
        if entry.id in self._subscriptions or entry[1:] in self._said:
            msg = f"{subscription!r} exists already"
            raise AlreadyRegistered(msg)
        self._subscriptions[entry.id] = entry
        self._said.add(entry[1:])
        return entry.id

    def drop_subscription(self, subscription_id: str) -> None:
        """Unsubscribe. Raises `NotFound`."""
        entry = self._subscriptions.pop(subscription_id, None)
        if entry is None:
            msg = f"there is no subscription {subscription_id!r}"
            raise NotFound(msg)
        self._said.discard(entry[1:])

    def registration(self) -> Registration:
        """All of it, under a new revision."""
        self._revision += 1
        return Registration(
            self._revision, tuple(self.types.values()), tuple(self._subscriptions.values())
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to declare."""
        return not self.types and not self._subscriptions


def _entry_of(subscription: Subscription) -> SubscriptionEntry:
    match subscription:
        case TypeSubscription():
            pattern = subscription.topic_type
            return SubscriptionEntry(subscription.id, subscription.agent_type, "type", pattern)
        case TypePrefixSubscription():
            pattern = subscription.topic_type_prefix
            return SubscriptionEntry(subscription.id, subscription.agent_type, "prefix", pattern)
        case _:
            msg = (
                f"{subscription!r} cannot travel to a host: a subscription is a TypeSubscription "
                "or a TypePrefixSubscription"
            )
            raise InvalidIdentifier(msg)
