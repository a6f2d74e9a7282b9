"""What of a registration can be in force, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from callboard.core.errors import CallboardError, InvalidIdentifier
from callboard.core.frames import (
    Registration,
    RegistrationError,
    SubscriptionEntry,
    TypeEntry,
)
from callboard.core.identity import check_agent_type, check_topic_type

MAX_ID_CHARS = 1024
"""The longest id of a subscription. An id made of what it says has at most 514 bytes."""

E = TypeVar("E", TypeEntry, SubscriptionEntry)


def checked(
    registration: Registration, old: Registration
) -> tuple[Registration, tuple[RegistrationError, ...]]:
    """Divide ``registration`` into what is valid and the errors of the rest.

    Args:
        registration: What a worker says that it serves.
        old: What was found valid of its last one: it is not checked again, so that a worker may declare
            a thousand types one by one.
    """
    errors: list[RegistrationError] = []
    types = _valid(registration.types, set(old.types), "type", _name_of, _check_type, errors)
    subscriptions = _valid(
        registration.subscriptions,
        set(old.subscriptions),
        "subscription",
        _id_of,
        _check_subscription,
        errors,
    )
    return Registration(registration.revision, types, subscriptions), tuple(errors)


def _valid(
    entries: tuple[E, ...],
    known: set[E],
    kind: Literal["type", "subscription"],
    name_of: Callable[[E], str],
    check: Callable[[E], None],
    errors: list[RegistrationError],
) -> tuple[E, ...]:
    """Those of ``entries`` that may be in force; each name once, and the first of a name counts."""
    valid: dict[str, E] = {}
    for entry in entries:
        name = name_of(entry)
        try:
            if name in valid:
                msg = f"{name[:80]!r} is declared twice"
                raise InvalidIdentifier(msg)
            if entry not in known:
                check(entry)
        except CallboardError as error:
            errors.append(RegistrationError(kind, name[:MAX_ID_CHARS], error.code, str(error)))
        else:
            valid[name] = entry
    return tuple(valid.values())


def _name_of(entry: TypeEntry) -> str:
    return entry.name


def _id_of(entry: SubscriptionEntry) -> str:
    return entry.id


def _check_type(entry: TypeEntry) -> None:
    check_agent_type(entry.name)


def _check_subscription(entry: SubscriptionEntry) -> None:
    if not 0 < len(entry.id) <= MAX_ID_CHARS:
        msg = f"the id of a subscription has 1 to {MAX_ID_CHARS} characters, not {len(entry.id)}"
        raise InvalidIdentifier(msg)
    check_agent_type(entry.agent_type)
    if entry.kind == "type" or entry.pattern:
        check_topic_type(entry.pattern)
