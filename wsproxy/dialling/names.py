"""Names to addresses: what everybody asks at once is asked once, and an answer is good for a few seconds.

::

    resolveHostName ─┬─ known ──────────────────────────────────────► the receiver, at once
                     ├─ being looked up ─► joins those who wait ──────┐
                     └─ else ─► a thread of our own: getaddrinfo(3) ──┴─► all of them

Twisted's resolver looks up each connection's name anew, ten at a time, in threads that the process waits for when it
ends. With lookups of 1 s that made 200 clients wait for up to 20, which counted as the target's.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  # getaddrinfo imports it at the first name, when the rights to read it may be gone
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.daemon.threads import Threads
from wsproxy.dialling.reactor import IResolvingReactor
from wsproxy.fault import logFault

__all__ = ["NEGATIVE_TTL", "POSITIVE_TTL", "NameResolver", "chooseResolver", "installResolver"]

POSITIVE_TTL = 5.0
"""Seconds an answer is good for, from when it came."""

NEGATIVE_TTL = 1.0
"""Seconds for the answer that there is none: a name that was just made should soon work."""

_REMEMBERED = 1000
"""Answers, and questions without one, at most. Beyond that a name has no address."""

_THREADS = 256
"""Different names at a time. A lookup that hangs takes one of them, until the C library gives up."""

_FAMILIES = {
    frozenset({IPv4Address}): socket.AF_INET,
    frozenset({IPv6Address}): socket.AF_INET6,
}
_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}

_Question = tuple[str, int, int]
"""Host, family, kind of socket."""

_Answer = list[tuple[Any, ...]]
"""Socket addresses as the socket module has them, whatever their port."""

try:
    from twisted.internet._resolver import GAIResolver as _TwistedResolver
except ImportError:  # it is asked then, like any other
    _TwistedResolver = None  # type: ignore[assignment,misc]


def chooseResolver(reactor: IReactorPluggableNameResolver, ours: IHostnameResolver) -> IHostnameResolver:
    """@return: the one that somebody installed in C{reactor}; C{ours} instead of that which Twisted installs."""
    theirs: IHostnameResolver = reactor.nameResolver
    return ours if type(theirs) is _TwistedResolver else theirs


def installResolver(reactor: Any) -> None:  # the module twisted.internet.reactor, whose type promises nothing
    """Have a process's own reactor ask L{NameResolver}, whoever wants to know: C{tcp:} endpoint strings do as well."""
    reactor.installNameResolver(chooseResolver(reactor, NameResolver(reactor)))


@implementer(IHostResolution)
class _Resolution:
    """One receiver's wait for an answer. C{waiting}: who wait for the same, this one among them."""

    def __init__(self, name: str, receiver: IResolutionReceiver, port: int, waiting: dict[_Resolution, None]) -> None:
        self.name = name
        self._receiver = receiver
        self._port = port
        self.waiting = waiting
        waiting[self] = None

    def cancel(self) -> None:
        """The receiver is told nothing. The lookup goes on, for others and for who asks next."""
        self.waiting.pop(self, None)

    def tell(self, answer: _Answer) -> None:
        for host, _, *rest in answer:
            family = IPv6Address if rest else IPv4Address
            self._receiver.addressResolved(family("TCP", host, self._port, *rest))
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
class NameResolver:
    """
    @param reactor: provides C{IReactorTime} and C{IReactorFromThreads}.
    @param getaddrinfo: L{socket.getaddrinfo}, which is called in threads, many at a time.
    """

    _log = Logger()

    def __init__(self, reactor: IResolvingReactor, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._clock: IReactorTime = reactor
        self._threads = Threads(reactor, _THREADS, "resolver")
        self._getaddrinfo = getaddrinfo
        self._asked: dict[_Question, dict[_Resolution, None]] = {}
        self._known: dict[_Question, tuple[float, _Answer]] = {}  # with the time until which it holds

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See L{IHostnameResolver.resolveHostName}. What cannot be a name has no address. It can be cancelled."""
        family = _FAMILIES.get(frozenset(addressTypes or ()), socket.AF_UNSPEC)
        question = (hostName.lower(), family, _KINDS[transportSemantics])
        waiting = self._asked.get(question)
        resolution = _Resolution(hostName, resolutionReceiver, portNumber, {} if waiting is None else waiting)
        resolutionReceiver.resolutionBegan(resolution)
        if waiting is None:
            self._answer(question, resolution)
        return resolution

    def _answer(self, question: _Question, resolution: _Resolution) -> None:
        until, answer = self._known.get(question, (0.0, []))
        if self._clock.seconds() < until or len(self._asked) >= _REMEMBERED:
            resolution.tell(answer)
        else:
            self._asked[question] = resolution.waiting
            self._ask(question)

    def _ask(self, question: _Question) -> None:
        host, family, kind = question
        asked = self._threads.call(lambda: self._getaddrinfo(host, 0, family, kind))
        asked.addCallbacks(lambda found: [each[4] for each in found], self._failed)
        asked.addCallback(self._answered, question)

    def _failed(self, failure: Failure) -> _Answer:
        # a name that cannot be encoded is a UnicodeError, one with a NUL another ValueError
        if not failure.check(OSError, ValueError):
            logFault(self._log, "looking up a name", failure)
        return []

    def _answered(self, answer: _Answer, question: _Question) -> None:
        self._remember(question, answer)
        waiting = self._asked.pop(question)
        while waiting:  # one of them may cancel another
            resolution = next(iter(waiting))
            del waiting[resolution]
            try:
                resolution.tell(answer)
            except BaseException:
                logFault(self._log, "telling the addresses of {name}", name=resolution.name)

    def _remember(self, question: _Question, answer: _Answer) -> None:
        known, now = self._known, self._clock.seconds()
        known.pop(question, None)  # so that the oldest come first
        while known and (len(known) >= _REMEMBERED or next(iter(known.values()))[0] <= now):
            del known[next(iter(known))]
        known[question] = (now + (POSITIVE_TTL if answer else NEGATIVE_TTL), answer)
