"""What operators do with dead letters: look at them, publish them anew, drop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from callboard.core.dead_letters import Selection
from callboard.core.errors import InvalidMessage, NotFound
from callboard.engine.contract import PAGE_BYTES
from callboard.log import Logger
from callboard.wire.codec import CloudEventCodec
from callboard.wire.v1 import operations_pb2 as pb

if TYPE_CHECKING:
    from callboard.core.commit import DeadLetter
    from callboard.engine.contract import Engine
    from callboard.host.switchboard import Switchboard

log = Logger(__name__)

STEP = 256
"""Dead letters that are replayed or dropped as one step: some 3 ms of the event loop."""

PAGE = 100
MAX_PAGE = 1000
MAX_POSITIONS = 10_000
MAX_REFUSALS = 100


class DeadLetterOperations:
    """Answers operators about dead letters.

    Many are taken in steps: between two of them the host serves others, and what a request that is
    broken off has not got to stays.
    """

    def __init__(self, switchboard: Switchboard, engine: Engine) -> None:
        self._switchboard = switchboard
        self._broker = switchboard.broker
        self._engine = engine
        self._codec = CloudEventCodec()

    async def page(self, request: pb.DeadLettersRequest) -> pb.DeadLettersResponse:
        """A page of them."""
        limit = request.limit or PAGE
        if limit > MAX_PAGE:
            msg = f"a page of {limit} dead letters is asked for, it has at most {MAX_PAGE}"
            raise InvalidMessage(msg)
        selection = Selection(request.agent_type, request.reason)
        found: list[pb.DeadLetterDescription] = []
        cursor = request.cursor
        while len(found) <= limit:  # one more says that there is another page
            letters = await self._engine.dead_letters(
                selection,
                beyond=cursor,
                limit=limit + 1 - len(found),
                newest_first=not request.oldest_first,
            )
            if not letters:
                break
            found += [self._described(letter) for letter in letters]
            cursor = found[-1].position
        has_more = len(found) > limit
        del found[limit:]
        return pb.DeadLettersResponse(
            dead_letters=found, next_cursor=found[-1].position if has_more else 0
        )

    async def one(self, request: pb.DeadLetterRequest) -> pb.DeadLetterResponse:
        """One of them, with its event."""
        letter = await self._engine.dead_letter(request.position)
        if letter is None:
            msg = f"there is no dead letter {request.position}"
            raise NotFound(msg)
        return pb.DeadLetterResponse(
            dead_letter=self._described(letter), event=letter.delivery.event.content
        )

    async def replay(self, request: pb.ReplayDeadLettersRequest) -> pb.ReplayDeadLettersResponse:
        """Publish them anew."""
        chosen = _checked(request.selection)
        answer = pb.ReplayDeadLettersResponse()
        missing = set(chosen.positions)
        async for letters in self._steps(chosen):
            errand = self._broker.replay(letters)
            await self._switchboard.keep(errand)
            missing.difference_update(errand.replayed, (each.position for each in errand.refused))
            answer.replayed += len(errand.replayed)
            answer.refused += len(errand.refused)
            answer.refusals.extend(
                pb.NotReplayed(
                    position=each.position,
                    agent_type=each.agent[0],
                    agent_key=each.agent[1],
                    code=each.code,
                    reason=each.reason,
                )
                for each in errand.refused[: MAX_REFUSALS - len(answer.refusals)]
            )
        answer.missing.extend(sorted(missing))
        log.info("dead letters replayed", replayed=answer.replayed, refused=answer.refused)
        return answer

    async def drop(self, request: pb.DropDeadLettersRequest) -> pb.DropDeadLettersResponse:
        """Forget them."""
        chosen = _checked(request.selection)
        answer = pb.DropDeadLettersResponse()
        missing = set(chosen.positions)
        async for letters in self._steps(chosen):
            errand = self._broker.drop([letter.delivery.position for letter in letters])
            await self._switchboard.keep(errand)
            missing.difference_update(errand.dropped)
            answer.dropped += len(errand.dropped)
        answer.missing.extend(sorted(missing))
        log.info("dead letters dropped", dropped=answer.dropped)
        return answer

    # Inside.

    async def _steps(self, chosen: pb.DeadLetterSelection) -> AsyncIterator[list[DeadLetter]]:
        """The dead letters that are meant and there, by position, a step's worth at a time.

        None beyond the highest position of now: what is replayed and fails again would never come
        to an end.
        """
        if chosen.positions:
            letters: list[DeadLetter] = []
            size = 0
            for position in sorted(set(chosen.positions)):
                letter = await self._engine.dead_letter(position)
                if letter is None:
                    continue
                letters.append(letter)
                size += len(letter.delivery.event.content)
                if len(letters) == STEP or size >= PAGE_BYTES:
                    yield letters
                    letters, size = [], 0
            if letters:
                yield letters
            return
        selection = Selection(chosen.agent_type, chosen.reason)
        newest = await self._engine.dead_letters(selection, limit=1, newest_first=True)
        last = newest[0].delivery.position if newest else 0
        cursor = 0
        while cursor < last:
            page = await self._engine.dead_letters(selection, beyond=cursor, limit=STEP)
            letters = [letter for letter in page if letter.delivery.position <= last]
            if not letters:
                return
            cursor = letters[-1].delivery.position
            yield letters

    def _described(self, letter: DeadLetter) -> pb.DeadLetterDescription:
        delivery = letter.delivery
        event = delivery.event
        agent_type, agent_key = delivery.agent
        return pb.DeadLetterDescription(
            position=delivery.position,
            agent_type=agent_type,
            agent_key=agent_key,
            topic_type=event.topic_type,
            topic_source=event.topic_source,
            event_id=self._codec.id_of(event.content),
            reason=letter.reason,
            detail=letter.detail,
            attempts=delivery.attempt,
            age_s=max(0.0, asyncio.get_running_loop().time() - letter.at),
            size_bytes=len(event.content),
        )


def _checked(chosen: pb.DeadLetterSelection) -> pb.DeadLetterSelection:
    """Give ``chosen`` back when it says one thing. Nothing said must not mean everything."""
    said = (bool(chosen.positions), bool(chosen.agent_type or chosen.reason), chosen.all)
    if sum(said) != 1:
        msg = "say which dead letters: positions, or an agent type or reason or both, or all"
        raise InvalidMessage(msg)
    count = len(chosen.positions)
    if count > MAX_POSITIONS:
        msg = f"{count} positions are named, a request has at most {MAX_POSITIONS}"
        raise InvalidMessage(msg)
    return chosen
