"""A worker's session with its host, over as many streams as it takes.

::

    LOOKING --found--> CONNECTED --stream lost--> LOOKING AGAIN --found--> CONNECTED

A session goes on over the next stream, unless the host knows it no more or its lease has run out by
then. In that case it is lost, and the stream that is found begins another.

Invariants: of two streams only the newer one counts; a session whose lease has run out is never
gone on with, whatever the host says; what a session brought is void when it is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from callboard.core.errors import CallboardError, Code, Unavailable, cause_of
from callboard.core.frames import NO_CLAIMS, Claims, HostFrame
from callboard.core.lease import Need
from callboard.log import Logger
from callboard.wire.status import HOST_BROKE
from callboard.worker.connection import Connection, Greeting, Welcome
from callboard.worker.session import WorkerSession

log = Logger(__name__)

LASTING = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED,
        Code.FAILED_PRECONDITION,
        Code.UNIMPLEMENTED,
    }
)
"""What a stream ends with that another one would end with as well."""

SPREAD_S = 0.5
"""Over what time the workers of a host that is lost begin to look for it again.

Twice as long after each further stream that has not lasted.
"""

LASTED_S = 10.0
"""What a stream has to last to count as one that has."""

LONGEST_PAUSE_S = 5.0
"""The longest pause between attempts to find a host again: thousands of workers may be looking."""

STOP_PAUSE_S = 0.2
"""How often it is asked, while the worker is stopping, whether the host is still needed."""


class LinkOwner(Protocol):
    """Whose session it is."""

    @property
    def confirmed(self) -> int:
        """All publishes up to this number are answered."""
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether it wants to leave."""
        ...

    @property
    def needs_host(self) -> bool:
        """Whether there is anything left for which a host is needed."""
        ...

    @property
    def claims(self) -> Claims:
        """What there is of the present session."""
        ...

    def begun(self, session: WorkerSession, welcome: Welcome) -> None:
        """A session has begun; there may have been one before, which was lost or handed over."""
        ...

    def handed_over(self, reason: CallboardError) -> None:
        """Another host is in the place of the session's, and begins one that goes on with it."""
        ...

    def renewed(self, until: float) -> None:
        """Turns may run until then, in the loop's time."""
        ...

    def connected(self, *, is_connected: bool) -> None:
        """The session has a stream from here on, or none."""
        ...

    def lost(self, session: WorkerSession, reason: CallboardError) -> None:
        """The session is over, and nothing that it brought counts."""
        ...

    def take(self, frame: HostFrame) -> None:
        """The host has said something in the present session."""
        ...


class HostLink:
    """A worker's session with its host.

    Lifecycle: `open`, then `run` until `close`, `abort`, or a loss that lasts.

    Attributes:
        session: The present one; None before the first, and from the loss of one to the next.
    """

    def __init__(
        self,
        owner: LinkOwner,
        address: str,
        greeting: Greeting,
        *,
        connect_timeout_s: float,
        reconnect_timeout_s: float | None,
        options: Sequence[tuple[str, int | str]] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Describe it; see `WorkerRuntime` for the arguments. ``jitter`` draws from [0, 1)."""
        self.session: WorkerSession | None = None
        self._owner = owner
        self._address = address
        self._greeting = greeting
        self._connect_timeout_s = connect_timeout_s
        self._reconnect_timeout_s = inf if reconnect_timeout_s is None else reconnect_timeout_s
        self._options = tuple(options)
        self._jitter = jitter
        self._connection: Connection | None = None
        self._spread_s = SPREAD_S / 2
        self._looking: asyncio.Timeout | None = None
        self._is_over = False
        self._news = asyncio.Event()

    # What the owner does with it.

    @property
    def is_connected(self) -> bool:
        """Whether the session has a stream."""
        return self._connection is not None

    def wake(self) -> None:
        """There is something in the session's outbox."""
        if self._connection is not None:
            self._connection.wake()

    def look_no_longer(self) -> None:
        """The owner is stopping: while a host is looked for, ask whether it is needed."""
        if self._looking is not None:
            self._looking.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Say what is to be said, that the session is over, and end; without a stream, end."""
        self._is_over = True
        if self.session is not None and self.session.token:
            self.session.outbox.leave = True
        if self._connection is not None:
            self._connection.close()
        self.look_no_longer()

    def abort(self) -> None:
        """End without the host. Idempotent."""
        self._is_over = True
        if self._connection is not None:
            self._connection.abort()
        self.look_no_longer()

    async def open(self) -> None:
        """Look for the host and begin a session.

        Raises:
            Unavailable: There was no host in time, or the owner is stopping.
            CallboardError: The host, or what is there instead, refused.
        """
        try:
            timeout_s = 0 if self._owner.is_stopping else None
            async with asyncio.timeout(timeout_s) as self._looking:
                connection = await self._dial(self._greeting, self._connect_timeout_s)
        except TimeoutError as error:
            msg = f"the runtime was stopped before it found the host at {self._address}"
            raise Unavailable(msg) from error
        finally:
            self._looking = None
        self._begin(connection)

    async def run(self) -> None:
        """Stay connected until the owner ends it.

        Raises the `CallboardError` with which it lost the host for good.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._keep_lease(), name="lease")
                try:
                    await self._stay_connected()
                finally:
                    keeper.cancel()
        except ExceptionGroup as group:
            raise cause_of(group) from group

    # Inside.

    async def _stay_connected(self) -> None:
        connection = self._connection
        while connection is not None:
            reason = await self._follow(connection)
            if self._is_over:
                return
            connection = await self._find_again(reason)

    async def _follow(self, connection: Connection) -> CallboardError:
        """Say and hear over ``connection`` for as long as it lasts; why it did not longer.

        Raises what another would end with as well.
        """
        session = self.session
        assert session is not None  # noqa: S101 (for the type checker: it has begun)
        loop = asyncio.get_running_loop()
        began_at = loop.time()

        def take(frame: HostFrame) -> None:
            if session is self.session:
                self._take(session, frame)

        try:
            await connection.run(session.outbox, take)
        except CallboardError as error:
            if error.code in LASTING or str(error).startswith(HOST_BROKE):
                raise
            reason = error
        else:
            reason = Unavailable("the runtime has left the host")
        finally:
            self._connection = None
            self._owner.connected(is_connected=False)
            self._news.set()
        has_lasted = loop.time() - began_at >= LASTED_S
        self._spread_s = SPREAD_S if has_lasted else min(2 * self._spread_s, LONGEST_PAUSE_S)
        if session is self.session and not session.token and not self._is_over:
            self._lose(reason)
        return reason

    def _take(self, session: WorkerSession, frame: HostFrame) -> None:
        now = asyncio.get_running_loop().time()
        if session.took_in(frame, now):
            self.wake()
        if frame.lease_ms:
            self._owner.renewed(session.lease.until)
            self._news.set()
        self._owner.take(frame)

    async def _find_again(self, reason: CallboardError) -> Connection | None:
        """Another stream; None when the owner needs none any more.

        Raises `Unavailable` when the host is not found in time.
        """
        log.warning("lost the host, looking for it", address=self._address, reason=str(reason))
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._reconnect_timeout_s
        spread_s = self._jitter() * self._spread_s
        while True:
            if self._is_over or (self._owner.is_stopping and not self._owner.needs_host):
                return None
            try:
                async with asyncio.timeout(
                    STOP_PAUSE_S if self._owner.is_stopping else None
                ) as self._looking:
                    await asyncio.sleep(spread_s)
                    spread_s = 0.0
                    session = self.session
                    left_s = max(0.0, give_up_at - loop.time())
                    connection = await self._dial(self._again(), left_s)
            except TimeoutError:
                continue  # the owner is stopping
            finally:
                self._looking = None
            if self._go_on(session, connection):
                return connection
            await connection.discard()

    def _again(self) -> Greeting:
        """What to greet a host with that may have the present session."""
        session = self.session
        return self._greeting._replace(
            resume_token=b"" if session is None else session.token,
            received=0 if session is None else session.received,
            published=self._owner.confirmed,
            claims=(
                NO_CLAIMS
                if session is None or not session.token
                else session.claims(self._owner.claims)
            ),
        )

    def _go_on(self, session: WorkerSession | None, connection: Connection) -> bool:
        """Go on over ``connection``, which was asked for when ``session`` was the present one.

        False when that has been lost meanwhile, or is about to be, and the host does not know.
        """
        welcome = connection.welcome
        now = asyncio.get_running_loop().time()
        if welcome.known:
            if session is None or session is not self.session or now >= session.lease.until:
                return False
            self._owner.handed_over(
                Unavailable(f"the host at {self._address} was replaced, and knows of no calls")
            )
            self._begin(connection, session)
            return True
        if not welcome.resumed:
            if self.session is not None:
                self._lose(Unavailable(f"the host at {self._address} has ended the session"))
            self._begin(connection)
            return True
        if session is None or session is not self.session:
            return False
        session.resume(connection, now)
        if now >= session.lease.until:
            return False
        log.info("session resumed", session=welcome.session_id)
        self._connect(session, connection)
        return True

    def _begin(self, connection: Connection, former: WorkerSession | None = None) -> None:
        session = self.session = WorkerSession(connection, former)
        self._owner.begun(session, connection.welcome)
        self._connect(session, connection)

    def _connect(self, session: WorkerSession, connection: Connection) -> None:
        self._connection = connection
        self._owner.renewed(session.lease.until)
        self._owner.connected(is_connected=True)
        self._news.set()

    def _lose(self, reason: CallboardError) -> None:
        session, self.session = self.session, None
        assert session is not None  # noqa: S101 (for the type checker: who loses one has one)
        self._owner.lost(session, reason)

    async def _dial(self, greeting: Greeting, timeout_s: float) -> Connection:
        return await Connection.open(
            self._address,
            greeting,
            timeout_s=timeout_s,
            longest_pause_s=LONGEST_PAUSE_S,
            extra_options=self._options,
        )

    async def _keep_lease(self) -> None:
        """Ask for the lease in time, and lose the session when it has run out."""
        loop = asyncio.get_running_loop()
        while True:
            self._news.clear()
            until = self._look_after_lease(loop.time())
            try:
                async with asyncio.timeout_at(until if until < inf else None):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _look_after_lease(self, now: float) -> float:
        """Do what the lease needs; when it needs something next."""
        session, connection = self.session, self._connection
        if session is None:
            return inf
        lease = session.lease
        match lease.need(now):
            case Need.END:
                late_s = round(now - lease.until, 3)
                log.warning("lease has run out: turns are cancelled", late_s=late_s)
                gone = Unavailable(f"the session with the host at {self._address} has lapsed")
                self._lose(gone)
                if connection is not None:
                    connection.abort(gone)
                return inf
            case Need.LINE if connection is not None:
                silent = Unavailable(f"the host at {self._address} does not answer")
                connection.abort(silent)
                return lease.until
            case Need.BEAT if connection is not None:
                session.outbox.beat = True
                lease.ask(now)
                connection.wake()
        return lease.until if self._connection is None else lease.next_at()
