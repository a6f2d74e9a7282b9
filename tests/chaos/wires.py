"""Ways from a worker to its host that can be cut half-open: nobody is told.

Where it may, a worker gets a network of its own, with a cable to the machine's; otherwise a proxy
stands between the two.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Protocol, Self

from runtime.proxy import Proxy

DIRECTIONS = ("to the worker", "to the host", "both ways")

NOWHERE = "02:00:00:00:00:01"
"""The address of no network card."""

_NUMBERS = count()


class Wire(Protocol):
    """One worker's way to its host.

    Attributes:
        prefix: The command before the worker's own.
        address: Where the worker finds the host.
    """

    prefix: Sequence[str]
    address: str

    async def plug_in(self, pid: int) -> None:
        """The worker has started, and looks for the host."""
        ...

    def cut(self, direction: str) -> None:
        """From here on nothing arrives."""
        ...

    def mend(self) -> None:
        """From here on everything arrives."""
        ...

    async def take_away(self) -> None:
        """The worker has ended."""
        ...


class Cable:
    """A pair of network cards, one of them in the worker's own network namespace.

    The namespace has no name: it goes with the worker, and the cable with it. What is cut is lost
    by ``tc netem``, or sent to a card that does not exist where the kernel has no netem.
    """

    prefix: Sequence[str] = ("unshare", "--net")

    def __init__(self, port: int, *, has_netem: bool) -> None:
        number = (os.getpid() * 64 + next(_NUMBERS)) % (1 << 15)
        # 198.18.0.0/15 is set aside for tests of networks (RFC 2544).
        base = (198 << 24) + (18 << 16) + number * 4
        self._near, self._far = (
            ".".join(str((base + end) >> shift & 255) for shift in (24, 16, 8, 0)) for end in (1, 2)
        )
        self._near_card, self._far_card = f"chaos{number}", f"chaos{number}w"
        self.address = f"{self._near}:{port}"
        self._has_netem = has_netem
        self._inside: tuple[str, ...] = ()
        self._lossy: list[tuple[tuple[str, ...], str, str]] = []

    async def plug_in(self, pid: int) -> None:
        """Lay the cable once the worker has its namespace."""
        while _network_of(pid) == _network_of(os.getpid()):
            await asyncio.sleep(0.005)
        self._inside = ("nsenter", f"--target={pid}", "--net")
        pair = ("type", "veth", "peer", "name", self._far_card, "netns", str(pid))
        _run("ip", "link", "add", self._near_card, *pair)
        for where, card, address in (
            ((), self._near_card, self._near),
            (self._inside, self._far_card, self._far),
        ):
            _run(*where, "ip", "address", "add", f"{address}/30", "dev", card)
            _run(*where, "ip", "link", "set", card, "up")

    def cut(self, direction: str) -> None:
        """Lose what is sent in this direction."""
        if direction != "to the host":
            self._lossy.append(((), self._near_card, self._far))
        if direction != "to the worker":
            self._lossy.append((self._inside, self._far_card, self._near))
        for where, card, other in self._lossy:
            if self._has_netem:
                _run(*where, *f"tc qdisc add dev {card} root netem loss 100%".split())
            else:
                where_to = f"{other} lladdr {NOWHERE} nud permanent"
                _run(*where, *f"ip neighbour replace {where_to} dev {card}".split())

    def mend(self) -> None:
        """Lose nothing."""
        for where, card, other in self._lossy:
            if self._has_netem:
                _run(*where, *f"tc qdisc del dev {card} root".split())
            else:
                _run(*where, *f"ip neighbour del {other} dev {card}".split())
        self._lossy.clear()

    async def take_away(self) -> None:
        """The cable goes with the namespace."""


class Detour:
    """A way through a proxy in this process, which swallows what it is given."""

    prefix: Sequence[str] = ()

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.address = proxy.address

    @classmethod
    async def open(cls, port: int) -> Self:
        """Start the proxy."""
        proxy = Proxy(f"127.0.0.1:{port}")
        await proxy.__aenter__()
        return cls(proxy)

    async def plug_in(self, pid: int) -> None:
        """The worker comes by itself."""

    def cut(self, direction: str) -> None:
        """Swallow what comes, from either side, and let nobody in."""
        self._proxy.freeze()
        self._proxy.is_open = False

    def mend(self) -> None:
        """Let everybody in; what was swallowed stays so."""
        self._proxy.is_open = True

    async def take_away(self) -> None:
        """Stop the proxy."""
        await self._proxy.__aexit__()


class Wires:
    """Makes wires of the best kind that this machine has.

    Attributes:
        kind: Which, in words, and what is missing for a better one.
    """

    def __init__(self) -> None:
        self._obstacle = _why_no_namespaces()
        self._has_netem = self._obstacle is None and _kernel_has_netem()
        if self._obstacle is not None:
            self.kind = f"a proxy ({self._obstacle})"
        elif not self._has_netem:
            self.kind = "network namespaces, ip neighbour (the kernel has no netem)"
        else:
            self.kind = "network namespaces, tc netem"

    async def make(self, port: int) -> Wire:
        """One to the host at ``port`` of this machine."""
        if self._obstacle is None:
            return Cable(port, has_netem=self._has_netem)
        return await Detour.open(port)


def _why_no_namespaces() -> str | None:
    missing = [tool for tool in ("unshare", "nsenter", "ip", "tc") if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]}"
    if os.geteuid() != 0:
        return "network namespaces want root"
    with suppress(subprocess.CalledProcessError):
        _run("unshare", "--net", "ip", "link", "add", "chaos", "type", "veth")
        return None
    return "this kernel, or this container, makes no network cards"


def _kernel_has_netem() -> bool:
    with suppress(subprocess.CalledProcessError):
        _run("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "100%")
        return True
    return False


def _network_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
