"""What of a registration can be in force, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Literal, TypeVar

from callboard.core.errors import (
    AlreadyRegistered,
    CallboardError,
    InvalidIdentifier,
    ResourceExhausted,
)
from callboard.core.frames import (
    Registration,
    RegistrationError,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.identity import check_agent_type, check_topic_type

MAX_ID_CHARS = 1024
"""The longest id of a subscription. An id made of what it says has at most 514 bytes."""


def checked(
    registration: Registration, old: Registration, *, any_names: bool = False
) -> tuple[Registration, tuple[RegistrationError, ...]]:
    """Divide ``registration`` into what is valid and the errors of the rest.

    Args:
        registration: What a worker says that it serves.
        old: What was found valid of its last one: it is not checked again, so that a worker may
            declare a thousand types one by one.
        any_names: Names of types and topics may be any text.
    """
    errors: list[RegistrationError] = []
    types: dict[str, TypeEntry] = {}
    known_types = set(old.types)
    for entry in registration.types:
        try:
            _check_new(entry.name, types)
            if entry not in known_types and not any_names:
                check_agent_type(entry.name)
        except CallboardError as error:
            errors.append(_error("type", entry.name, error))
        else:
            types[entry.name] = entry
    subscriptions: dict[str, SubscriptionEntry] = {}
    known_subscriptions = set(old.subscriptions)
    for subscription in registration.subscriptions:
        try:
            _check_new(subscription.id, subscriptions)
            if subscription not in known_subscriptions and not any_names:
                _check_subscription(subscription)
        except CallboardError as error:
            errors.append(_error("subscription", subscription.id, error))
        else:
            subscriptions[subscription.id] = subscription
    valid = Registration(
        registration.revision, tuple(types.values()), tuple(subscriptions.values())
    )
    return valid, tuple(errors)


def uncontested(
    entries: Iterable[TypeEntry], claimant: Callable[[TypeEntry], str | None]
) -> tuple[tuple[TypeEntry, ...], tuple[RegistrationError, ...]]:
    """Divide types into those that a worker may serve and the errors of the rest.

    Args:
        entries: What it wants to serve.
        claimant: The client-id of the worker in whose way it would be; None when there is none.
    """
    free: list[TypeEntry] = []
    errors: list[RegistrationError] = []
    for entry in entries:
        client_id = claimant(entry)
        if client_id is None:
            free.append(entry)
        else:
            # The words are AutoGen's: programs look for them.
            what = f"Agent type {entry.name} already registered with client {client_id}."
            errors.append(_error("type", entry.name, AlreadyRegistered(what)))
    return tuple(free), tuple(errors)


E = TypeVar("E", TypeEntry, SubscriptionEntry)


def fitting(
    entries: Iterable[E], is_kept: Callable[[E], bool], count: int, limit: int
) -> tuple[tuple[E, ...], tuple[RegistrationError, ...]]:
    """Divide ``entries`` into those that a host has room for and the errors of the rest.

    Args:
        entries: Valid ones, of one kind.
        is_kept: Whether an entry takes no more room than is taken.
        count: How many the host keeps.
        limit: How many it may keep.
    """
    fit: list[E] = []
    errors: list[RegistrationError] = []
    for entry in entries:
        if is_kept(entry):
            fit.append(entry)
        elif count < limit:
            count += 1
            fit.append(entry)
        elif isinstance(entry, TypeEntry):
            what = f"the host keeps {count} agent types, that is its limit"
            errors.append(_error("type", entry.name, ResourceExhausted(what)))
        else:
            what = f"the host keeps {count} subscriptions, that is its limit"
            errors.append(_error("subscription", entry.id, ResourceExhausted(what)))
    return tuple(fit), tuple(errors)


def _check_new(name: str, seen: Container[str]) -> None:
    if name in seen:
        msg = f"{name[:80]!r} is declared twice: the first counts"
        raise InvalidIdentifier(msg)


def _check_subscription(entry: SubscriptionEntry) -> None:
    if not 0 < len(entry.id) <= MAX_ID_CHARS:
        msg = f"the id of a subscription has 1 to {MAX_ID_CHARS} characters, not {len(entry.id)}"
        raise InvalidIdentifier(msg)
    check_agent_type(entry.agent_type)
    if entry.kind == "type" or entry.pattern:
        check_topic_type(entry.pattern)


def _error(
    entry: Literal["type", "subscription"], name: str, error: CallboardError
) -> RegistrationError:
    return RegistrationError(entry, name[:MAX_ID_CHARS], error.code, str(error))
