"""What a process still has of a session whose host is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callboard.core.frames import Claims, Partitions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callboard.agent.turn import Activation, Turn
    from callboard.core.event import Grant


def claims_of(activations: Iterable[Activation], turns: Iterable[Turn]) -> Claims:
    """The partitions that have agents here, and the events whose ends are not told.

    Args:
        activations: The agents that are active.
        turns: What runs.
    """
    grants: dict[str, dict[int, Grant]] = {}
    held: dict[int, int] = {}
    for activation in activations:
        if activation.grant is not None:
            agent_type, partition = activation.place
            of_type = grants.setdefault(agent_type, {})
            former = of_type.get(partition, activation.grant)
            of_type[partition] = max(former, activation.grant)
        for delivery in activation.held:
            held[delivery.position] = delivery.attempt
    for turn in turns:
        if turn.delivery is not None and turn.era == turn.activation.era:
            held[turn.delivery.position] = turn.delivery.attempt
    partitions = tuple(
        Partitions(agent_type, tuple(sorted(of_type.items())))
        for agent_type, of_type in sorted(grants.items())
    )
    return Claims(partitions, held)
