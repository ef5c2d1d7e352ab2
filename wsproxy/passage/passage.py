"""The way through a WebSocket: from stdin and stdout, or from each client of a port.

Whatever happens on it is told in one line, and C{SystemExit} is how it ends.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from wsproxy.access.peer import printable
from wsproxy.dialling.dial import Dialer
from wsproxy.endpoints.hostport import HostPort
from wsproxy.errors import DialError, PeerClosed
from wsproxy.escape import escape
from wsproxy.passage.splice import Splice, factoryFor
from wsproxy.tls.client import clientTLS, describeTLSFailure
from wsproxy.websocket.request import UpgradeRequest

__all__ = ["Manner", "Passage"]

_BACKLOG = 128
_STDIN, _STDOUT = 0, 1
_LOOK = 1.0
"""Seconds from one look at stdin to the next."""


@dataclass(frozen=True, slots=True)
class Manner:
    """
    How a server is connected to.

    @ivar authorities: a PEM file of those to trust instead of the system's.
    @ivar insecure: accept any certificate.
    @ivar timeout: seconds until there is a WebSocket.
    @ivar heartbeat: seconds from ping to ping; 0: none.
    """

    authorities: str | None = None
    insecure: bool = False
    timeout: float = 10.0
    heartbeat: float = 25.0

    def makeDialer(self, reactor: Any, option: str) -> Dialer:
        """
        @param option: by which C{authorities} were given, for complaints.
        @raise ConfigError: they cannot be read.
        """
        tls = partial(clientTLS, authorities=self.authorities, insecure=self.insecure, option=option)
        if self.authorities is not None:
            tls("localhost")
        return Dialer(
            reactor, connectTimeout=self.timeout, tls=tls, describeTLS=describeTLSFailure, heartbeat=self.heartbeat
        )


class Passage:
    """
    That to one server.

    @param tell: says this line to people; the second argument is whether something went wrong.
    @raise ConfigError: the authorities to trust cannot be read.
    """

    def __init__(self, request: UpgradeRequest, manner: Manner, tell: Callable[[str, bool], None]) -> None:
        self._request = request
        self._manner = manner
        self._shown = escape(request.url.shown, None)
        self._tell = tell
        self._open: set[Splice] = set()
        manner.makeDialer(None, "--cafile")

    def standard(self, reactor: Any) -> Deferred[None]:
        """
        Lead stdin and stdout through it.

        @return: fails with L{SystemExit}: see L{wsproxy.command.connect}.
        """
        return Deferred.fromCoroutine(self._standard(reactor))

    async def _standard(self, reactor: Any) -> None:
        far, near = Splice(), Splice()
        if not await self._reach(reactor, far):
            raise SystemExit(1)
        self._tell(f"{self._shown}: connected", False)
        reactor.addSystemEventTrigger("before", "shutdown", self._closeAll)
        StandardIO(near, reactor=reactor)
        far.join(near)
        looking = LoopingCall(lambda: far.transport.hurry() if _isDeserted(_STDIN) else None)
        looking.clock = reactor
        looking.start(_LOOK)
        orderly = self._judge(await far.lost)
        looking.stop()
        [written, _] = await gatherResults([near.lost, far.transport.gone])  # what was said last is still to be written
        if not isinstance(written, ConnectionDone) and not _isHeard(_STDOUT):
            self._tell("stdout: cannot be written, and what came is not all there; is the disk full?", True)
            orderly = False
        raise SystemExit(0 if orderly else 1)

    def local(self, where: HostPort, reactor: Any) -> Deferred[None]:
        """
        Lead each client of this port through one of its own.

        @return: fires never; fails with L{SystemExit} where it cannot be listened there.
        """
        factory = _Local(partial(self._lead, reactor))
        try:
            port = reactor.listenTCP(where.port, factory, _BACKLOG, where.host)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            self._tell(f"-L {where}: {reason[:1].lower()}{reason[1:]}", True)
            raise SystemExit(1) from None
        self._tell(f"listening on {printable(port.getHost())}, leading to {self._shown}", False)
        reactor.addSystemEventTrigger("before", "shutdown", self._closeAll)
        return Deferred()

    def _lead(self, reactor: Any, near: Splice) -> None:
        """A client has come."""
        far = Splice()
        reaching: Deferred[bool] = Deferred.fromCoroutine(self._reach(reactor, far))
        near.lost.addCallback(lambda _: reaching.cancel())

        def reached(result: bool | Failure) -> None:
            if result is not True:
                near.transport.abortConnection()
            else:
                far.lost.addCallback(self._judge)
                far.join(near)

        reaching.addBoth(reached)

    async def _reach(self, reactor: Any, far: Splice) -> bool:
        """Connect. @return: whether that was possible."""
        try:
            await self._manner.makeDialer(reactor, "--cafile").upgrade(self._request, factoryFor(far))
        except DialError as error:
            self._tell(f"{self._shown}: {escape(str(error))}", True)
            return False
        except CancelledError:
            return False
        self._open.add(far)
        # what is lost to its protocol may still have a Close to send
        far.transport.gone.addCallback(lambda _: self._open.discard(far))
        return True

    def _judge(self, error: BaseException | None) -> bool:
        """@return: whether it has ended in good order; if not, that is told."""
        orderly = isinstance(error, ConnectionDone)
        if not orderly:
            why = f"closed with {error.told}" if isinstance(error, PeerClosed) else "connection lost"
            self._tell(f"{self._shown}: {escape(why)}", True)
        return orderly

    def _closeAll(self) -> Deferred[Any]:
        """Close all of them. @return: fires when that is done, within the patience of each."""
        going = [far.transport.gone for far in self._open]
        for far in tuple(self._open):
            far.leave()
        return gatherResults(going)


def _isDeserted(descriptor: int) -> bool:
    """Whether nobody can write to this pipe any more. What was written may still be in it, while it is not read."""
    looking = select.poll()
    looking.register(descriptor, 0)  # for what is always told, POLLHUP
    return any(events & select.POLLHUP for _, events in looking.poll(0))


def _isHeard(descriptor: int) -> bool:
    """
    Of one that takes no more: whether somebody has read of it, and has seen enough. Else it is a file, on a full disk,
    or a terminal that is gone.
    """
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class _Local(Factory[Splice]):
    """@param lead: is told of each client."""

    noisy = False

    def __init__(self, lead: Callable[[Splice], None]) -> None:
        self._lead = lead

    def buildProtocol(self, addr: Any) -> Splice:
        return _Near(self._lead)


class _Near(Splice):
    def __init__(self, lead: Callable[[Splice], None]) -> None:
        super().__init__()
        self._lead = lead

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.setTcpNoDelay(True)
        self._lead(self)
