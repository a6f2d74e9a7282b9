"""Where a host's streams, broker, engine and clock meet.

It does what the broker says and holds no rule.
"""

from __future__ import annotations

import asyncio
from itertools import count
from secrets import token_bytes
from typing import TYPE_CHECKING, Protocol

from callboard.core.broker import Broker
from callboard.core.errors import AlreadyRegistered, Unavailable
from callboard.core.frames import HostFrame, Registration, RegistrationError, WorkerFrame
from callboard.core.session import LEASES, Session
from callboard.host.stream import WorkerStream
from callboard.log import Logger
from callboard.telemetry.active import route_spans
from callboard.wire.codec import CloudEventCodec
from callboard.wire.frames import CAPABILITIES, PROTOCOL_VERSION
from callboard.wire.items import get_claims
from callboard.wire.v1 import agent_host_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.commit import Commit, Errand
    from callboard.core.errors import CallboardError
    from callboard.core.kept import Kept
    from callboard.engine.contract import Engine
    from callboard.telemetry.route_spans import RouteSpans

log = Logger(__name__)

TRY_AGAIN_S = 1.0
"""How often an engine that could not keep or read something is asked whether it can by now."""


class Line(Protocol):
    """What leads to a worker: our own protocol's stream, or another's."""

    def wake(self) -> None:
        """There is something to send."""
        ...

    def end(self, failure: CallboardError | None = None) -> None:
        """Send what there is and end, with ``failure`` when there is one. Idempotent."""
        ...


class Switchboard:
    """Connects the streams of a host with its broker.

    Lifecycle: make it inside a running loop; `run` keeps commits until cancelled; readers of
    streams live in ``tasks``.
    """

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        tasks: asyncio.TaskGroup,
        told: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """Begin without streams.

        Args:
            broker: Decides.
            engine: Keeps.
            tasks: Where the readers of streams live.
            told: Hears why the engine can keep nothing, and None when it can again.
        """
        self.broker = broker
        self._told = told
        self._engine = engine
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._commit_is_due = asyncio.Event()
        self._pages_are_due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._lines: dict[Session, Line | None] = {}  # None: the session has lost its stream
        self._by_token: dict[bytes, Session] = {}
        self._silent: set[WorkerStream] = set()
        self._errands: dict[Errand, asyncio.Future[None]] = {}
        self._session_numbers = count(1)
        self._is_closed = False
        self._failed_at = 0.0
        self._spans = route_spans(
            engine=engine.name,
            partitions=broker.limits.partitions,
            trace_of=CloudEventCodec().trace_of,
        )
        self.operators_port = 0

    # Streams.

    def open(self, stream: WorkerStream) -> None:
        """A stream has begun, of whom is not known yet: read it, as a task of the host's.

        Raises `Unavailable` when the host is stopping.
        """
        self.check_open()
        self._silent.add(stream)
        self._tasks.create_task(stream.read(), name="read")

    def check_open(self) -> None:
        """Raise `Unavailable` when the host is stopping."""
        if self._is_closed:
            msg = "the host is stopping"
            raise Unavailable(msg)

    def admit(self, hello: pb.Hello, stream: WorkerStream) -> tuple[Session, pb.ConnectResponse]:
        """Go on with the session that ``hello`` has the token of, or begin one.

        Raises:
            ProtocolViolation: It claims to have received what was never sent.
            AlreadyRegistered: Another process has taken its name while it was away.
        """
        self._silent.discard(stream)
        session = self._by_token.get(hello.resume_token)
        is_resumed = session is not None and session.incarnation == hello.incarnation
        if session is None or not is_resumed:
            if self.broker.is_replaced(hello.incarnation):
                raise _name_taken(hello.client_id)
            capabilities = CAPABILITIES.intersection(hello.capabilities)
            session = self._begin(
                Session(
                    self._next_name(),
                    hello.client_id,
                    hello.agent,
                    incarnation=hello.incarnation,
                    token=token_bytes(16) if LEASES in capabilities else b"",
                    capabilities=capabilities,
                ),
                stream,
                hello,
            )
        else:
            self._resume(session, stream, hello.received)
        limits, continuity = self.broker.limits, session.outbox.continuity
        welcome = pb.Welcome(
            version=PROTOCOL_VERSION,
            capabilities=sorted(session.capabilities),
            session_id=session.id,
            resume_token=session.token,
            lease_ms=self.broker.lease_ms if session.has_lease else 0,
            resumed=is_resumed,
            known=session.is_known and not is_resumed,
            received=continuity.received if continuity is not None else 0,
            max_event_bytes=limits.max_event_bytes,
            publish_window=limits.publish_window,
            delivery_window=limits.delivery_window,
            partitions=limits.partitions,
            operators_port=self.operators_port,
        )
        return session, pb.ConnectResponse(welcome=welcome)

    def join(self, client_id: str, line: Line, *, agent: str, is_foreign: bool = False) -> Session:
        """Begin the session of a worker of another protocol that ``line`` leads to."""
        session = Session(self._next_name(), client_id, agent, is_foreign=is_foreign)
        return self._begin(session, line)

    def part(self, stream: WorkerStream, failure: CallboardError | None = None) -> None:
        """A stream is over, because of ``failure`` when there is one. Idempotent.

        So is its session, unless it outlives it.
        """
        self._silent.discard(stream)
        session = stream.session
        if session is None or self._lines.get(session) is not stream:
            return
        if failure is not None or not session.has_lease:
            self.leave(session)
            return
        self._lines[session] = None
        self.broker.part(session)
        log.info("session lost its stream", session=session.id, client_id=session.client_id)

    def leave(self, session: Session) -> None:
        """A session is over. Idempotent."""
        if session in self._lines:
            self._forget(session)
            self.broker.leave(session, self._loop.time())
            self._act()

    def take(self, session: Session, frame: WorkerFrame) -> None:
        """A worker has said something. Raises `ProtocolViolation`: see `Broker.take`."""
        if self._spans is not None and session.is_live:
            self._trace(self._spans, session, frame)
        self.broker.take(session, frame, self._loop.time())
        if frame.leave:
            line = self._lines.get(session)
            self.leave(session)
            if line is not None:
                line.end()  # it may not half-close it, and nobody else will ever end it
        self._act()

    def register(
        self, session: Session, registration: Registration
    ) -> tuple[RegistrationError, ...]:
        """A worker whose protocol registers beside its stream serves this; what is refused."""
        errors = self.broker.register(session, registration, self._loop.time())
        self._act()
        return errors

    def restart(self, session: Session) -> None:
        """Another process goes on with a session: see `Broker.restart`."""
        if session.is_live:
            if self._spans is not None:
                self._spans.leave(session.id)
            self.broker.restart(session)
            self._act()

    def tell(self, session: Session, frame: HostFrame) -> None:
        """A worker is being told something."""
        if self._spans is not None and frame.replies:
            self._spans.answer(session.id, frame.replies)

    def close(self) -> None:
        """End every stream with UNAVAILABLE, and admit no more. Idempotent.

        Sessions that outlive their host go on: another host may take its place.
        """
        self._is_closed = True
        self.broker.end_calls("the host is stopping")
        for session, line in list(self._lines.items()):
            if not session.has_lease:
                self.leave(session)
            if line is not None:
                line.end(Unavailable("the host is stopping"))
        for stream in self._silent:
            stream.end(Unavailable("the host is stopping"))
        for kept in self._errands.values():
            if not kept.done():
                kept.set_exception(
                    Unavailable("the host is stopping; what was asked for may be done or not")
                )
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Operators.

    async def keep(self, errand: Errand) -> None:
        """Return when the engine has all of what the broker has just been asked for.

        Cancelled, it waits no longer, and the errand is done all the same. Raises `Unavailable`
        when the host stops.
        """
        self.check_open()
        self._act()
        if errand.is_kept:
            return
        self._errands[errand] = kept = self._loop.create_future()
        try:
            await kept
        finally:
            del self._errands[errand]

    # What the broker leaves to be done.

    async def restore(self, kept: Kept) -> None:
        """Begin where the former host has ended. Before any stream, and before `run`."""
        now = self._loop.time()
        self.broker.restore(kept, now)
        count, beyond = 0, 0
        while page := await self._engine.waiting(beyond=beyond):
            self.broker.restore_events(page, now)
            count += len(page)
            beyond = page[-1].position
        last = None
        while backlogs := await self._engine.backlogs(beyond=last):
            self.broker.restore_backlogs(backlogs, now)
            count += sum(each.count for each in backlogs)
            last = backlogs[-1].agent
        if count or kept.types or kept.sessions:
            log.info("restored", events=count, types=len(kept.types), sessions=len(kept.sessions))
        self._act()

    async def run(self) -> None:
        """Let the engine keep commits, all that gathered at a time, until cancelled."""
        broker = self.broker
        while True:
            await self._commit_is_due.wait()
            self._commit_is_due.clear()
            while (commit := broker.take_commit()) is not None:
                spans = () if self._spans is None else self._spans.begin(commit)
                try:
                    positions = await self._engine.commit(commit)
                except Unavailable as error:
                    if self._spans is not None:
                        self._spans.end(spans, str(error))
                    await self._wait_for_engine(commit, error)
                    continue
                broker.committed(commit, positions, self._loop.time())
                for errand in commit.errands:
                    kept = self._errands.get(errand)
                    if kept is not None and not kept.done():
                        kept.set_result(None)
                self._act()
                if self._spans is not None:
                    self._spans.end(spans)
            if not broker.can_publish:
                self._go_on()

    async def read(self) -> None:
        """Let the engine read what is wanted of its backlogs, until cancelled."""
        broker = self.broker
        while True:
            await self._pages_are_due.wait()
            self._pages_are_due.clear()
            while requests := broker.take_page_requests(self._loop.time()):
                self._act()
                try:
                    pages = await self._engine.pages(requests)
                except Unavailable as error:
                    log.warning("events cannot be read", reason=str(error))
                    await asyncio.sleep(TRY_AGAIN_S)
                    broker.not_read(requests)
                    continue
                broker.read(requests, pages)
                self._act()
            self._act()  # others have the room of those of which nothing is to be read

    async def _wait_for_engine(self, commit: Commit, error: Unavailable) -> None:
        """The engine could not keep ``commit``; return when it can keep something.

        Publishes are taken again when what has gathered by then is kept as well.
        """
        if self.broker.can_publish:
            log.warning("events cannot be kept, publishes are refused", reason=str(error))
            self._failed_at = self._loop.time()
            self._told(str(error))
        self.broker.not_kept(commit, str(error))
        self._act()
        while True:
            await asyncio.sleep(TRY_AGAIN_S)
            try:
                await self._engine.check()
                break
            except Unavailable as still:
                log.debug("events cannot be kept", reason=str(still))

    def _go_on(self) -> None:
        self.broker.reopen()
        self._told(None)
        log.info("events are kept again", after_s=round(self._loop.time() - self._failed_at, 1))
        self._act()

    def _next_name(self) -> str:
        return f"session-{next(self._session_numbers)}"

    def _begin(self, session: Session, line: Line, hello: pb.Hello | None = None) -> Session:
        """Begin a session; one of the same client-id ends.

        If that has a stream, it ends with ALREADY_EXISTS, else it will when it comes back: were it
        told to try again, two workers of one name would end each other for ever. Names are those of
        one protocol: workers of another cannot take a session over.
        """
        client_id = session.client_id
        for other, other_line in list(self._lines.items()):
            if other.client_id == client_id and other.is_foreign == session.is_foreign:
                log.warning("session taken over", session=other.id, client_id=client_id)
                self._forget(other)
                self.broker.replace(other, session, self._loop.time())
                if other_line is not None:
                    other_line.end(_name_taken(client_id))
        self._lines[session] = line
        if session.token:
            self._by_token[session.token] = session
        if hello is None:
            self.broker.join(session, self._loop.time())
        else:
            self.broker.join(
                session,
                self._loop.time(),
                hello.published,
                token=hello.resume_token,
                claims=get_claims(hello),
            )
        log.info("session began", session=session.id, client_id=client_id, agent=session.agent)
        self._act()
        return session

    def _resume(self, session: Session, stream: WorkerStream, received: int) -> None:
        self.broker.resume(session, received, self._loop.time())
        former = self._lines[session]
        self._lines[session] = stream
        if isinstance(former, WorkerStream):
            former.replace()
        log.info("session resumed", session=session.id, client_id=session.client_id)
        self._act()

    def _forget(self, session: Session) -> None:
        del self._lines[session]
        self._by_token.pop(session.token, None)
        if self._spans is not None:
            self._spans.leave(session.id)
        log.info("session ended", session=session.id, client_id=session.client_id)

    def _trace(self, spans: RouteSpans, session: Session, frame: WorkerFrame) -> None:
        if self.broker.can_publish:
            spans.arrive(each for each in frame.publishes if not session.origin.has(each.number))
        for call in frame.calls:
            spans.call(session.id, call)
        for call_id in frame.cancels:
            spans.cancel(session.id, call_id)

    def _act(self) -> None:
        for session in self.broker.take_awake():
            line = self._lines.get(session)
            if line is not None:
                line.wake()
        if self.broker.has_commit:
            self._commit_is_due.set()
        if self.broker.wants_pages:
            self._pages_are_due.set()
        due = self.broker.next_deadline()
        if self._timer is not None and (due is None or due < self._timer.when()):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None and not self._is_closed:
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.broker.tick(self._loop.time())
        for session in self.broker.take_lapsed():
            line = self._lines[session]
            self._forget(session)
            if line is not None:
                line.end(Unavailable("nothing was heard of the worker for the length of a lease"))
        self._act()


def _name_taken(client_id: str) -> AlreadyRegistered:
    return AlreadyRegistered(f"another worker named {client_id!r} has connected")
