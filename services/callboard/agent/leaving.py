"""The partitions that a host has asked a process to give up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callboard.agent.activations import Place
    from callboard.agent.turn import Activation
    from callboard.core.event import Grant


class Leaving:
    """Which partitions are asked for, which were given up, and what may still begin there."""

    def __init__(self) -> None:
        self._asked: dict[Place, Grant] = {}
        self._given_up: dict[Place, Grant] = {}

    def __contains__(self, place: Place) -> bool:
        """Whether the partition is asked for and not given up yet."""
        return place in self._asked

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, place: Place, grant: Grant) -> None:
        """The host wants a partition back."""
        self._asked[place] = grant

    def withdraw(self, place: Place) -> None:
        """Nobody asks for the partition any more. Idempotent."""
        self._asked.pop(place, None)

    def clear(self) -> None:
        """Nothing is held any more that could be asked for."""
        self._asked.clear()
        self._given_up.clear()

    def give_up(self, place: Place) -> Grant:
        """A partition that is asked for is given up: under which grant it was held."""
        grant = self._given_up[place] = self._asked.pop(place)
        return grant

    def is_too_late(self, activation: Activation, grant: Grant | None) -> bool:
        """Whether an event under ``grant`` may begin no turn: the host hands it out anew."""
        if not self._asked and not self._given_up:
            return False
        return activation.place in self._asked or self.is_given_up(activation, grant)

    def is_given_up(self, activation: Activation, grant: Grant | None) -> bool:
        """Whether ``grant`` was surrendered.

        A call is taken in until then: a turn that the surrender waits for may wait for it.
        """
        if not self._given_up or grant is None:
            return False
        given_up = self._given_up.get(activation.place)
        return given_up is not None and grant <= given_up
