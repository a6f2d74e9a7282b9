"""Which AutoGen worker serves which agent types, and what these subscribe to: AutoGen's rules.

An agent type has one worker. A subscription is of an agent type, whoever added it, and events go to
the worker of that type, each event once, however many of its agents and subscriptions match: the
worker finds out by itself for which of its agents it is. So to the broker a worker is one agent
type, its inbox, with the subscriptions of all its types; events for one topic source wait in order
for one agent of it. Its agent types are in the broker too, for calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from callboard.core.errors import AlreadyRegistered, InvalidMessage
from callboard.core.frames import SubscriptionEntry, TypeEntry

INBOX = "autogen:"
"""What the names of inboxes begin with. No native type has one like it."""


class NoSuchSubscription(InvalidMessage):
    """There is no subscription of that id."""


@dataclass(slots=True)
class Declared:
    """What the broker is to know of one worker."""

    types: list[TypeEntry] = field(default_factory=list)
    subscriptions: list[SubscriptionEntry] = field(default_factory=list)


class Directory:
    """The types and subscriptions of all AutoGen workers of a host.

    What changes it says whom it concerns: the workers of whom the broker is now to know something
    else, `declared_by` tells what. Those of whom it is to know less come first, so that there is
    room for what it is to know of others.
    """

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}
        self._held: dict[str, dict[str, None]] = {}
        self._adders: dict[SubscriptionEntry, str] = {}
        self._added: dict[str, dict[SubscriptionEntry, None]] = {}
        # By agent type, each beside what the broker is to know of it: a worker with a thousand of
        # them asks for that a thousand times.
        self._by_type: dict[str, dict[SubscriptionEntry, SubscriptionEntry]] = {}
        self._by_id: dict[str, list[SubscriptionEntry]] = {}
        self._said: set[tuple[str, str, str]] = set()

    def client_of(self, agent_type: str) -> str | None:
        """The worker that serves a type."""
        return self._holders.get(agent_type)

    def subscriptions(self) -> Iterator[SubscriptionEntry]:
        """All of them, in the order in which they came."""
        return iter(self._adders)

    def register(self, client_id: str, agent_type: str) -> list[str]:
        """A worker serves a type. Raises `AlreadyRegistered`, for its own types too."""
        holder = self._holders.get(agent_type)
        if holder is not None:
            msg = f"Agent type {agent_type} already registered with client {holder}."
            raise AlreadyRegistered(msg)
        self._holders[agent_type] = client_id
        self._held.setdefault(client_id, {})[agent_type] = None
        self._rewrite(agent_type)
        return [*(each for each in self._adders_for(agent_type) if each != client_id), client_id]

    def unregister(self, agent_type: str) -> list[str]:
        """Nobody serves a type any more."""
        holder = self._holders.pop(agent_type)
        del self._held[holder][agent_type]
        self._rewrite(agent_type)
        return list(dict.fromkeys((holder, *self._adders_for(agent_type))))

    def add(self, client_id: str, entry: SubscriptionEntry) -> list[str]:
        """A worker subscribes a type.

        Raises `AlreadyRegistered` when there is one of that id, or that says the same, of its kind.
        """
        namesakes = self._by_id.get(entry.id, [])
        if entry[1:] in self._said or any(each.kind == entry.kind for each in namesakes):
            msg = "Subscription already exists"
            raise AlreadyRegistered(msg)
        self._said.add(entry[1:])
        self._adders[entry] = client_id
        self._added.setdefault(client_id, {})[entry] = None
        self._by_type.setdefault(entry.agent_type, {})[entry] = self._to_broker(entry)
        self._by_id.setdefault(entry.id, []).append(entry)
        return [self._holders.get(entry.agent_type, client_id)]

    def remove(self, subscription_id: str) -> list[str]:
        """End the subscriptions of that id, whoever added them. Raises `NoSuchSubscription`."""
        entries = self._by_id.get(subscription_id)
        if entries is None:
            msg = "Subscription does not exist"
            raise NoSuchSubscription(msg)
        return list(dict.fromkeys([self.withdraw(entry) for entry in list(entries)]))

    def withdraw(self, entry: SubscriptionEntry) -> str:
        """End a subscription that is there; the worker whom that concerns."""
        adder = self._adders.pop(entry)
        self._said.discard(entry[1:])
        del self._added[adder][entry]
        if not self._added[adder]:
            del self._added[adder]
        del self._by_type[entry.agent_type][entry]
        if not self._by_type[entry.agent_type]:
            del self._by_type[entry.agent_type]
        self._by_id[entry.id].remove(entry)
        if not self._by_id[entry.id]:
            del self._by_id[entry.id]
        return self._holders.get(entry.agent_type, adder)

    def drop(self, client_id: str) -> list[str]:
        """A worker is gone: its types are free, and the subscriptions that it added end."""
        concerned = dict.fromkeys(
            [self.withdraw(entry) for entry in list(self._added.get(client_id, ()))]
        )
        for agent_type in list(self._held.pop(client_id, ())):
            del self._holders[agent_type]
            self._rewrite(agent_type)
            concerned |= self._adders_for(agent_type)
        return [each for each in concerned if each != client_id]

    def declared_by(self, client_id: str) -> Declared:
        """What the broker is to know of a worker.

        A subscription of a type that no AutoGen worker serves is passed on as it is: it may be a
        native worker's.
        """
        held = self._held.get(client_id, {})
        declared = Declared([_inbox(client_id), *map(_called, held)])
        for agent_type in held:
            declared.subscriptions.extend(self._by_type.get(agent_type, {}).values())
        declared.subscriptions.extend(
            self._by_type[entry.agent_type][entry]
            for entry in self._added.get(client_id, ())
            if entry.agent_type not in self._holders
        )
        return declared

    def count(self, client_id: str) -> int:
        """How many subscriptions `declared_by` names."""
        return len(self.declared_by(client_id).subscriptions)

    def _to_broker(self, entry: SubscriptionEntry) -> SubscriptionEntry:
        holder = self._holders.get(entry.agent_type)
        agent_type = entry.agent_type if holder is None else inbox_of(holder)
        return entry._replace(id=id_of(entry), agent_type=agent_type)

    def _rewrite(self, agent_type: str) -> None:
        """Another worker holds the type now, or none."""
        for entry in (entries := self._by_type.get(agent_type, {})):
            entries[entry] = self._to_broker(entry)

    def _adders_for(self, agent_type: str) -> dict[str, None]:
        return {self._adders[entry]: None for entry in self._by_type.get(agent_type, ())}


def _inbox(client_id: str) -> TypeEntry:
    return TypeEntry(inbox_of(client_id), session_only=True, exclusive=True)


def _called(agent_type: str) -> TypeEntry:
    return TypeEntry(agent_type, session_only=True, exclusive=True, calls_only=True)


def id_of(entry: SubscriptionEntry) -> str:
    """Under which the broker has a subscription: AutoGen's ids may come twice, once a kind."""
    return f"{entry.kind}:{entry.id}"


def inbox_of(client_id: str) -> str:
    """The agent type under which the broker keeps the events for a worker."""
    return f"{INBOX}{client_id}"
