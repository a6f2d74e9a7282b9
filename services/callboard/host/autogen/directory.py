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


class NoSuchSubscription(InvalidMessage):
    """There is no subscription of that id."""


@dataclass(slots=True)
class Declared:
    """What the broker is to know of one worker."""

    types: list[TypeEntry] = field(default_factory=list)
    subscriptions: list[SubscriptionEntry] = field(default_factory=list)


class Directory:
    """The types and subscriptions of all AutoGen workers of a host."""

    def __init__(self) -> None:
        self._clients: dict[str, str] = {}
        self._subscriptions: list[tuple[str, SubscriptionEntry]] = []

    def client_of(self, agent_type: str) -> str | None:
        """The worker that serves a type."""
        return self._clients.get(agent_type)

    def subscriptions(self) -> Iterator[SubscriptionEntry]:
        """All of them, in the order in which they came."""
        return (entry for _, entry in self._subscriptions)

    def register(self, client_id: str, agent_type: str) -> None:
        """A worker serves a type. Raises `AlreadyRegistered`, for its own types too."""
        holder = self._clients.get(agent_type)
        if holder is not None:
            msg = f"Agent type {agent_type} already registered with client {holder}."
            raise AlreadyRegistered(msg)
        self._clients[agent_type] = client_id

    def unregister(self, agent_type: str) -> None:
        """Nobody serves a type any more."""
        del self._clients[agent_type]

    def add(self, client_id: str, entry: SubscriptionEntry) -> None:
        """A worker subscribes a type.

        Raises `AlreadyRegistered` when there is one of that id, or that says the same, of its kind.
        """
        for _, other in self._subscriptions:
            if other.kind == entry.kind and (other.id == entry.id or other[1:] == entry[1:]):
                msg = "Subscription already exists"
                raise AlreadyRegistered(msg)
        self._subscriptions.append((client_id, entry))

    def remove(self, subscription_id: str) -> None:
        """End the subscriptions of that id, whoever added them. Raises `NoSuchSubscription`."""
        stay = [each for each in self._subscriptions if each[1].id != subscription_id]
        if len(stay) == len(self._subscriptions):
            msg = "Subscription does not exist"
            raise NoSuchSubscription(msg)
        self._subscriptions = stay

    def drop(self, client_id: str) -> None:
        """A worker is gone: its types are free, and the subscriptions that it added end."""
        self._clients = {
            name: holder for name, holder in self._clients.items() if holder != client_id
        }
        self._subscriptions = [each for each in self._subscriptions if each[0] != client_id]

    def declared_by(self, client_id: str) -> Declared:
        """What the broker is to know of a worker.

        A subscription of a type that no AutoGen worker serves is passed on as it is: it may be a
        native worker's.
        """
        inbox = inbox_of(client_id)
        declared = Declared([TypeEntry(inbox, session_only=True, exclusive=True)])
        declared.types += [
            TypeEntry(name, session_only=True, exclusive=True)
            for name, holder in self._clients.items()
            if holder == client_id
        ]
        for adder, entry in self._subscriptions:
            holder = self._clients.get(entry.agent_type)
            # An id may come twice, once of each kind.
            own = entry._replace(id=f"{entry.kind}:{entry.id}")
            if holder == client_id:
                declared.subscriptions.append(own._replace(agent_type=inbox))
            elif holder is None and adder == client_id:
                declared.subscriptions.append(own)
        return declared


def inbox_of(client_id: str) -> str:
    """The agent type under which the broker keeps the events for a worker."""
    return f"autogen:{client_id}"
