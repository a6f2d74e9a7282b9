"""One AutoGen worker: its stream, its session at the broker, and what goes between them.

To the broker it is a worker like others, whose side of our protocol is played here: it settles
what it was sent once gRPC has it. AutoGen's workers acknowledge nothing, so what is lost between
that and the handler is lost, as with AutoGen's own host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING

from callboard.core.errors import (
    AlreadyRegistered,
    CallboardError,
    ProtocolViolation,
    ResourceExhausted,
    Unavailable,
)
from callboard.core.frames import (
    ACCEPTED,
    CallFailure,
    HostFrame,
    Outcome,
    Publish,
    Registration,
    RegistrationError,
    Rejected,
    Reply,
    Settlement,
    WorkerFrame,
)
from callboard.core.limits import too_large
from callboard.host.autogen import messages
from callboard.log import Logger

if TYPE_CHECKING:
    from callboard.core.event import Delivery
    from callboard.core.session import Session
    from callboard.host.autogen.directory import Declared
    from callboard.host.switchboard import Switchboard

log = Logger(__name__)

MAX_REQUEST_ID_CHARS = 1024
"""Of the ids that a worker gives its calls: they are kept until the answer."""

ID_DIGITS = 20
"""Of the ids that the host gives calls; what has more is none."""

MESSAGE_BYTES = 4 * 1024 * 1024
"""The largest message that AutoGen's workers read, encoded: gRPC's own bound.

A larger one ends their stream, of which they take no notice, and all that they serve is gone.
"""


class Client:
    """A worker by its client-id, from its first word until its stream ends.

    It may register before it opens its stream, and open another one: the newest counts. What it
    serves stays; a call belongs to the stream on which it was made, for another process may have
    opened the new one, and count its calls from 1 again.

    Attributes:
        session: Its session at the broker.
    """

    def __init__(self, client_id: str, switchboard: Switchboard, *, message_bytes: int) -> None:
        self.client_id = client_id
        self._switchboard = switchboard
        self._message_bytes = message_bytes
        self._stream: Stream | None = None
        self._publish_numbers = count(1)
        self._settlement_numbers = count(1)
        self._call_numbers = count(1)
        self._revisions = count(1)
        self._request_ids: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._said: Iterator[bytes] | None = None
        self._ended_by: CallboardError | None = None
        self._heard = asyncio.Event()
        self.session: Session = switchboard.join(client_id, self, agent="autogen", is_foreign=True)

    # What the switchboard asks of a worker's stream.

    def wake(self) -> None:
        """There is something to send."""
        refused = self.session.outbox.publishes_refused
        if refused:
            # Nothing in AutoGen's protocol could tell the worker.
            log.warning(
                "events refused",
                client_id=self.client_id,
                count=len(refused),
                reason=refused[0].reason,
            )
            refused.clear()
        self._heard.set()
        if self._stream is not None:
            self._stream.wake()

    def end(self, failure: CallboardError | None = None) -> None:
        """The session is over: what the worker waits for is answered before its stream ends."""
        if self._ended_by is None:
            self._ended_by = failure
        self._heard.set()
        if self._stream is not None:
            self._stream.end(failure)

    # Its streams.

    def attach(self, stream: Stream) -> None:
        """It has opened a stream; one that it had before ends, and the calls on it, both ways."""
        earlier = self._stream
        if earlier is not None:
            log.warning("stream taken over", client_id=self.client_id)
            failure = AlreadyRegistered("another stream of this client-id has taken its place")
            self._switchboard.restart(self.session)
            earlier.end(failure, self.hang_up(failure))
        self._stream = stream
        stream.wake()

    @property
    def has_opened(self) -> bool:
        """Whether it has, or had, a stream."""
        return self._stream is not None

    def is_on(self, stream: Stream) -> bool:
        """Whether that is the stream that counts."""
        return self._stream is stream

    # What it says.

    def declare(self, declared: Declared) -> tuple[RegistrationError, ...]:
        """Tell the broker what it serves; what of that the broker does not take."""
        registration = Registration(
            next(self._revisions), tuple(declared.types), tuple(declared.subscriptions)
        )
        if self.session.registration[1:] == registration[1:]:
            return ()
        return self._switchboard.register(self.session, registration)

    def take(self, data: bytes) -> None:
        """It has sent a message. Raises `ProtocolViolation`: see `Broker.take`."""
        message = messages.parse(data)
        match message.WhichOneof("message"):
            case "cloud_event":
                event = messages.event_from(message.cloud_event)
                publish = Publish(next(self._publish_numbers), event)
                self._say(WorkerFrame(publishes=[publish]))
            case "request":
                number = self._number_of(message.request.request_id)
                if number is not None:
                    call = messages.call_from(message.request, number)
                    self._say(WorkerFrame(calls=[call]))
            case "response":
                answered = message.response.request_id
                if answered.isascii() and answered.isdecimal() and len(answered) <= ID_DIGITS:
                    reply = messages.reply_from(message.response, int(answered))
                    self._say(WorkerFrame(replies=[reply]))
            case _:
                log.debug("empty message", client_id=self.client_id)

    async def until_heard(self) -> None:
        """Wait while it has published more than the broker has taken in.

        Our own workers keep a window. AutoGen's know of none: they are slowed down by not being
        read.
        """
        window = self._switchboard.broker.limits.publish_window
        outbox = self.session.outbox
        while self.session.is_live and self.session.origin.last - outbox.published_through > window:
            self._heard.clear()
            await self._heard.wait()

    def _number_of(self, request_id: str) -> int | None:
        """A number for a new call; None for one that is open."""
        if len(request_id) > MAX_REQUEST_ID_CHARS:
            msg = f"a request id has at most {MAX_REQUEST_ID_CHARS} characters"
            raise ProtocolViolation(msg)
        if request_id in self._numbers:
            log.debug("request id used twice", client_id=self.client_id)
            return None
        number = next(self._call_numbers)
        self._numbers[request_id] = number
        self._request_ids[number] = request_id
        return number

    def _say(self, frame: WorkerFrame) -> None:
        self._switchboard.take(self.session, frame)

    # What it is told.

    def next_message(self) -> bytes | None:
        """What is to be sent next; None when all is said. To ask says that gRPC has the last one.

        It goes on where it was when another stream takes over.
        """
        if self._said is None:
            self._said = self._messages()
        message = next(self._said, None)
        if message is None:
            self._said = None
        return message

    def hang_up(self, failure: CallboardError | None = None) -> list[bytes]:
        """What to tell it of its open calls: ``failure``, or why the session ended."""
        open_calls, self._request_ids, self._numbers = self._request_ids, {}, {}
        error = CallFailure.of(failure or self._ended_by or Unavailable("the session is over"))
        return [
            messages.response_to(Reply(number, error=error), request_id)
            for number, request_id in open_calls.items()
        ]

    def _messages(self) -> Iterator[bytes]:
        while (frame := self.session.outbox.take()) is not None:
            self._switchboard.tell(self.session, frame)
            yield from self._answers(frame)
            yield from self._requests(frame)
            yield from self._events(frame)

    def _answers(self, frame: HostFrame) -> Iterator[bytes]:
        for reply in frame.replies:
            request_id = self._request_ids.pop(reply.call_id, None)
            if request_id is None:
                continue
            del self._numbers[request_id]
            try:
                yield self._fitting("reply", messages.response_to(reply, request_id))
            except CallboardError as error:
                failed = Reply(reply.call_id, error=CallFailure.of(error))
                yield messages.response_to(failed, request_id)

    def _requests(self, frame: HostFrame) -> Iterator[bytes]:
        for call in frame.calls:
            try:
                yield self._fitting("call", messages.request_to(call))
            except CallboardError as error:
                self._say(WorkerFrame(replies=[Reply(call.id, error=CallFailure.of(error))]))

    def _events(self, frame: HostFrame) -> Iterator[bytes]:
        for event, deliveries in frame.deliveries:
            try:
                yield self._fitting("event", messages.event_to(event))
            except CallboardError as error:
                self._settle(deliveries, Rejected("undeliverable", str(error)))
                log.warning("event rejected", client_id=self.client_id, reason=str(error))
            else:
                self._settle(deliveries, ACCEPTED)

    def _settle(self, deliveries: list[Delivery], outcome: Outcome) -> None:
        settlements = [
            Settlement(
                next(self._settlement_numbers), each.position, each.attempt, each.grant, outcome
            )
            for each in deliveries
            if each.grant is not None
        ]
        self._say(WorkerFrame(settlements=settlements))

    def _fitting(self, what: str, message: bytes) -> bytes:
        """The encoded message. Raises `ResourceExhausted` for one that is too large to be read."""
        if len(message) > self._message_bytes:
            raise ResourceExhausted(too_large(what, len(message), self._message_bytes))
        return message


class Stream:
    """The life of one ``OpenChannel`` or ``OpenControlChannel`` call, as the sender sees it."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._failure: CallboardError | None = None
        self.is_over = False
        self.last_words: Sequence[bytes] = ()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def end(self, failure: CallboardError | None = None, last_words: Sequence[bytes] = ()) -> None:
        """Send what there is and end, with ``failure`` when there is one. Idempotent."""
        if not self.is_over:
            self.is_over = True
            self.last_words = last_words
            self._failure = failure
            self._wake.set()

    async def woken(self) -> bool:
        """Wait until there is something to send; False when it is over."""
        if not self.is_over:
            await self._wake.wait()
            self._wake.clear()
        return not self.is_over

    def check(self) -> None:
        """Raise the failure with which it is to end, if there is one."""
        if self._failure is not None:
            raise self._failure


async def sent_to(client: Client, stream: Stream) -> AsyncIterator[bytes]:
    """What to send on a worker's stream, until that is over or another one counts.

    Raises the failure with which it is to end.
    """
    goes_on = True
    while goes_on:
        goes_on = await stream.woken()
        while client.is_on(stream) and (message := client.next_message()) is not None:
            yield message
    for message in client.hang_up() if client.is_on(stream) else stream.last_words:
        yield message
    stream.check()
