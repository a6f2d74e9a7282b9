"""An agent that knows when the sun rises and sets: `daylight/PLACE`, for any place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date

from astral import Observer
from astral.sun import sun

from callboard import MessageContext, RoutedAgent, rpc


@dataclass(frozen=True)
class WhenIsDaylight:
    """Asks about one day at one place.

    Attributes:
        day: As ``2026-06-21``.
        latitude: In degrees, north is positive.
        longitude: In degrees, east is positive.
    """

    day: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class DaylightTimes:
    """When the sun rises and sets, in UTC, as ``2026-06-21T02:43Z``."""

    sunrise: str
    sunset: str


class Daylight(RoutedAgent):
    """Answers from astronomy alone."""

    agent_type = "daylight"

    def __init__(self) -> None:
        super().__init__("Knows when the sun rises and sets.")

    @rpc
    async def when(self, message: WhenIsDaylight, ctx: MessageContext) -> DaylightTimes:
        """Raises ValueError where the sun does not rise or set on that day."""
        place = Observer(message.latitude, message.longitude)
        times = sun(place, date.fromisoformat(message.day), tzinfo=UTC)
        return DaylightTimes(*(f"{times[name]:%Y-%m-%dT%H:%MZ}" for name in ("sunrise", "sunset")))
