"""The switch: looks at the first bytes of a connection and hands it, whole, to what speaks that protocol.

::

    accept ─► Switch ─┬─ TLS ──► TLSMemoryBIOProtocol ─► Switch (secure; once) ─► HTTP
                      ├─ Flash policy request ──► the policy file, close
                      ├─ HTTP ──► Channel ─► … ─► TransportEnd (the tunnel)
                      └─ anything else, or silence ──► close; with --raw TransportEnd (the tunnel)

The bytes it looked at are handed on with the connection, so that nothing is lost or repeated however they were split.
A header of the PROXY protocol is taken off before, where the peer is trusted to send one.
It stays the transport's protocol and passes everything on: that works behind any endpoint and any wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolNegotiationFactory,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.access.forwarded import TrustedProxies
from wsproxy.access.peer import unmapped, whom
from wsproxy.config import ClientsConfig
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.escape import escape
from wsproxy.fault import logFault
from wsproxy.frontend.announcement import Announcement, Foregoing
from wsproxy.frontend.answer import refusalBytes
from wsproxy.frontend.deadline import Deadline
from wsproxy.frontend.diagnosis import announcementCause, handshakeCause, speechCause
from wsproxy.frontend.flash import policyFile
from wsproxy.frontend.lingering import LINGER, Lingering
from wsproxy.frontend.raw import RawClient, wordless
from wsproxy.frontend.sniff import Kind, sniff
from wsproxy.frontend.turns import Turns
from wsproxy.frontend.web import WebSite
from wsproxy.interfaces import Forwarded, Request
from wsproxy.tls.client import describeTLSFailure
from wsproxy.tls.server import demandsCertificates

__all__ = ["WAITING_LIMIT", "Switch", "SwitchFactory"]

WAITING_LIMIT = 65536
"""Bytes that a client may send ahead while it waits for its turn; then it is not read."""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Switch(Protocol):
    """One L{Connection<wsproxy.frontend.connection.Connection>} of a port of ours.

    @param inner: whether it is inside of TLS that another switch has begun.
    @ivar secure: whether it is inside of TLS, of ours or of the endpoint that listens.
    """

    transport: Any
    factory: SwitchFactory
    named: Forwarded | None = None

    def __init__(self, factory: SwitchFactory, inner: bool) -> None:
        self.factory = factory
        self.secure = self._inner = inner
        # has the client shown the certificate that it needs, if it needs one?
        self._known = inner or not factory.verifiesClients
        self._shaken = not inner  # has TLS come about, where it is ours?
        self._began = factory.clock.seconds() if inner else 0.0
        self.deadline = Deadline(factory.clock, self._expired)
        self._silence: Deadline | None = None
        self._protocol: Any = None
        self._peeked = b""
        self._kind: Kind | None = None  # while it waits for its turn
        self._ended = False  # meanwhile

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        if not self._inner:
            self.secure = ISSLTransport.providedBy(self.transport)
            if ITCPTransport.providedBy(self.transport):
                self.transport.setTcpKeepAlive(True)
        self.deadline.start(self.factory.handshakeTimeout)
        if not self._inner and self.factory.proxies is not None and self.factory.proxies.announces(self.peer):
            self._protocol = Announcement(self._announced, self._unannounced)
            if self.secure:
                Foregoing(self.transport, self._foretold).stand()
        elif not self.secure:
            self._awaitFirstByte()

    @property
    def peer(self) -> IAddress:
        """Where it comes from."""
        return unmapped(self.transport.getPeer())

    @property
    def client(self) -> IAddress:
        """Who it is, as far as is known before any request."""
        return self.peer if self.named is None else self.named.client

    def _foretold(self, named: Forwarded | None) -> None:
        """Its header has come before TLS."""
        self.named = named
        self._protocol = None

    def _announced(self, named: Forwarded | None, early: bytes) -> None:
        """Its header was this: now it may begin."""
        self.named = named
        self._protocol = None
        self._awaitFirstByte()
        if early:
            self.dataReceived(early)

    def _unannounced(self, why: str) -> None:
        """It has no header, and must have one."""
        self.factory.unannounced(why, self)
        self.linger()

    def handshakeCompleted(self) -> None:
        """TLS is up: the next stage begins."""
        self._shaken = True
        if self.factory.shaken is not None:
            self.factory.shaken(self.factory.clock.seconds() - self._began)
        self.factory.note("{peer} TLS handshake completed", self)
        self.deadline.start(self.factory.handshakeTimeout)
        if self._protocol is None:
            self._awaitFirstByte()

    def _awaitFirstByte(self) -> None:
        """A client that waits for the server to speak first speaks no protocol of ours."""
        if self.factory.rawOnly:
            self._passThrough()
        elif self._passable:
            self._silence = Deadline(self.factory.clock, self._passThrough)
            self._silence.start(self.factory.rawAfter)

    def _endSilence(self) -> None:
        if self._silence is not None:
            self._silence.close()
            self._silence = None

    def dataReceived(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.dataReceived(data)
            return
        self._endSilence()
        self._peeked += data
        if self._kind is not None:
            if len(self._peeked) > WAITING_LIMIT:
                self.transport.pauseProducing()
            return
        kind = sniff(self._peeked)
        if kind is Kind.TLS or kind is Kind.HTTP:
            self._kind = kind
            if not self.factory.turns.take(self._enter, self._inner):
                self.deadline.cancel()  # it is not the client that is slow
        elif kind is not None:
            self._handOver(kind)

    def _enter(self) -> None:
        """Its turn has come; it may be gone by now."""
        kind, self._kind = self._kind, None
        if kind is None:
            return
        if len(self._peeked) > WAITING_LIMIT:
            self.transport.resumeProducing()
        self._handOver(kind)
        if self._ended:
            self.readConnectionLost()

    def _handOver(self, kind: Kind) -> None:
        factory = self.factory
        peeked, self._peeked = self._peeked, b""
        if kind is Kind.TLS and factory.tls is not None and not self.secure:
            self.deadline.cancel()  # from here on the secure switch stands for the connection
            self._sendAtOnce()
            factory.connections.discard(self)
            tls: Any = factory.tls.buildProtocol(self.transport.getPeer())
            if self.named is not None:
                tls.wrappedProtocol.named = self.named
            self.become(tls, peeked)
        elif kind is Kind.FLASH_POLICY and factory.flashPolicy and self._known:
            self._tellPolicy()
        elif kind is Kind.HTTP or (kind is Kind.OTHER and peeked[:1].isalpha() and not self._passable):
            if (factory.tlsOnly or not self._known) and not self.secure:
                self._refuse(_plaintext)
            elif not self._known:
                self._refuse(_unknown)
            else:
                self._sendAtOnce()
                if not factory.site.arrive(self, peeked):
                    self.deadline.start(factory.handshakeTimeout)
                    self.become(factory.site.channel(self), peeked)
        elif self._passable:
            self._passThrough(peeked)
        else:
            factory.unserved(b"" if self.secure else peeked, self)
            self.linger()

    def _tellPolicy(self) -> None:
        enter = self.factory.enter
        if enter is None or enter(wordless(self.transport, self.secure, self.named)) is None:
            self.linger(policyFile(getattr(self.transport.getHost(), "port", 0)))
        else:
            self.linger()

    def _refuse(self, refusal: Refusal) -> None:
        self.factory.refused(refusal, self)
        self.linger(refusalBytes(refusal))

    def _sendAtOnce(self) -> None:
        """Without Nagle's delay."""
        if not self._inner and ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    @property
    def _passable(self) -> bool:
        """Whether the client may have the target as it is."""
        return self.factory.raw is not None and (self.secure or not self.factory.tlsOnly) and self._known

    def _passThrough(self, early: bytes = b"", ended: bool = False) -> None:
        assert self.factory.raw is not None
        self.deadline.cancel()
        self._sendAtOnce()
        end = TransportEnd()
        self.become(end, early)
        if ended:
            end.readConnectionLost()
        self.factory.raw(RawClient(end, self.secure, self.named))

    def become(self, protocol: IProtocol, early: bytes = b"") -> None:
        self.transport.unregisterProducer()
        self._protocol = protocol
        protocol.makeConnection(self.transport)
        if early:
            protocol.dataReceived(early)

    def linger(self, words: bytes = b"") -> None:
        if words:
            self.transport.write(words)
        self.deadline.cancel()
        self.become(Lingering(self.factory.clock, self._noteSlow))

    def _noteSlow(self) -> None:
        self.factory.note("{peer} was too slow", self)

    def _expired(self) -> None:
        self._noteSlow()
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        if self._kind is Kind.HTTP:
            self._ended = True
            return
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        elif self._protocol is None and self._kind is None and self._passable:
            self._endSilence()
            self._passThrough(self._peeked, ended=True)
        else:
            self._kind = None  # nobody shakes hands that has left
            self.deadline.start(LINGER)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)
        self.deadline.close()
        self._endSilence()
        self._kind = None
        if not self._shaken and isinstance(reason.value, SSL.Error):
            self.factory.unshaken(describeTLSFailure(reason), self)
        if self._protocol is not None:
            self._protocol.connectionLost(reason)

    @property
    def tunnelled(self) -> bool:
        """Whether the connection belongs to a session now."""
        return isinstance(self._protocol, TransportEnd) and not isinstance(self._protocol, Lingering)


_plaintext = Refusal(
    400,
    "This port speaks TLS only: use https:// or wss://",
    cause="a proxy in front? nginx: proxy_pass https://…; HAProxy: ssl on the server line",
)
_unknown = Refusal(
    403,
    "A client certificate is needed",
    cause="--verify-client cannot ask for one where an ssl: endpoint speaks TLS: --listen without ssl:",
)

_UNSERVED = "speaks nothing that is served here"
_UNANNOUNCED = "refused: no PROXY header, which is awaited from there"

ALPN = [b"http/1.1"]
"""What the port speaks inside of TLS, by its registered name (RFC 7301 section 6)."""


class _ServerTransport(SecureTransport):
    """Its client has said hello."""

    speaksFirst = False


@implementer(IProtocolNegotiationFactory)
class SwitchFactory(ServerFactory[Switch]):
    """Makes switches for a listening port.

    @param tls: makes the server side of TLS connections; L{None} to close them. If it demands a certificate of each
        client, those that come in any other way are refused.
    @param tlsOnly: answer plaintext HTTP with 400.
    @param handshakeTimeout: seconds for each of the stages TLS, first bytes and request headers.
    @param verbose: log what becomes of connections that never open a session.
    @param raw: takes clients that speak nothing of this; L{None} to close them.
    @param rawAfter: seconds after which a client that has said nothing is one of those.
    @param rawOnly: all are.
    @param proxies: from which peers a header of the PROXY protocol is awaited; L{None} for none.
    @param enter: whether a client may come in that speaks something else than HTTP, and is answered here: tells the
        log, and answers with what it is refused for. L{None} for everybody.
    @ivar verifiesClients: whether C{tls} demands a certificate of each client.
    @ivar turns: in which clients are let in.
    @ivar shaken: called with the seconds that each TLS handshake took, for whoever measures them.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        site: WebSite,
        *,
        tls: IOpenSSLServerConnectionCreator | None = None,
        tlsOnly: bool = False,
        flashPolicy: bool = ClientsConfig().flashPolicy,
        handshakeTimeout: float = ClientsConfig().handshakeTimeout,
        verbose: bool = False,
        raw: Callable[[RawClient], None] | None = None,
        rawAfter: float = ClientsConfig().rawAfter,
        rawOnly: bool = False,
        proxies: TrustedProxies | None = None,
        enter: Callable[[Request], Refusal | None] | None = None,
    ) -> None:
        self.clock = clock
        self.site = site
        self._secure(tls)
        self.tlsOnly = tlsOnly
        self.flashPolicy = flashPolicy
        self.handshakeTimeout = handshakeTimeout
        self.raw = raw
        self.rawAfter = rawAfter
        self.rawOnly = rawOnly
        self.proxies = proxies
        self.enter = enter
        self.connections: set[Switch] = set()
        self.turns = Turns(clock)
        self.shaken: Callable[[float], object] | None = None
        self._verbose = verbose

    def _secure(self, tls: IOpenSSLServerConnectionCreator | None) -> None:
        self._creator = tls
        self.tls = TLSMemoryBIOFactory(tls, False, _SecureFactory(self), self.clock) if tls is not None else None
        if self.tls is not None:
            self.tls.protocol = _ServerTransport
        self.verifiesClients = demandsCertificates(tls)

    def become(self, other: SwitchFactory, tls: IOpenSSLServerConnectionCreator | None) -> None:
        """
        Receive connections as C{other} would, another one that does not listen, from now on: those that are here go on.
        What its C{site} and C{raw} lead to is not taken.
        """
        if tls is not self._creator:
            self._secure(tls)
        self.tlsOnly, self.flashPolicy = other.tlsOnly, other.flashPolicy
        self.handshakeTimeout, self.rawAfter = other.handshakeTimeout, other.rawAfter
        self.proxies = other.proxies
        self._verbose = other._verbose
        self.site.requestTimeout = other.site.requestTimeout

    def buildProtocol(self, addr: IAddress | None) -> Switch:
        return Switch(self, inner=False)

    def acceptableProtocols(self) -> list[bytes]:
        """What Twisted agrees to with TLS clients: with others than it knows of, it fails their handshake."""
        return ALPN

    def note(self, text: str, switch: Switch) -> None:
        """Log C{text} about a peer, when someone wants to know."""
        if self._verbose:
            self._log.info(text, peer=whom(switch.client, switch.peer))

    def refused(self, refusal: Refusal, switch: Switch) -> None:
        """Log this refusal of a peer."""
        self.site.refusals.refused(switch.peer, refusal.status, refusal.reason, refusal.cause, switch.client)

    def unannounced(self, why: str, switch: Switch) -> None:
        """Log that a peer has sent no header of the PROXY protocol, and must."""
        self._count(_UNANNOUNCED)
        self.site.refusals.note(switch.peer, _UNANNOUNCED, f"{_UNANNOUNCED}: {announcementCause(why)}")

    def unshaken(self, reason: str, switch: Switch) -> None:
        """Log that there was no TLS with a peer, and why: always, where there is a cure."""
        failed = f"TLS handshake failed: {reason}"
        self._count(failed)
        cause = handshakeCause(reason)
        if cause:
            self.site.refusals.note(switch.peer, failed, f"{failed}: {cause}", switch.client)
        else:
            self.note(f"{{peer}} {escape(failed)}", switch)

    def unserved(self, data: bytes, switch: Switch) -> None:
        """Log that a peer begins with C{data}, which is nothing that is served: always, where there is a cure."""
        self._count(_UNSERVED)
        cause = speechCause(data)
        if cause:
            self.site.refusals.note(switch.peer, _UNSERVED, f"{_UNSERVED}: {cause}", switch.client)
        else:
            self.note(f"{{peer}} {_UNSERVED}", switch)

    def _count(self, what: str) -> None:
        if self.site.refusals.counted is not None:
            self.site.refusals.counted(0, what)

    def abortIdle(self) -> None:
        """End every connection that is not a session."""
        for switch in tuple(self.connections):
            if not switch.tunnelled:
                try:
                    switch.transport.abortConnection()
                except BaseException:  # an embedder's transport; sessions are still to be closed
                    logFault(self._log, "dropping a connection")


@implementer(IProtocolNegotiationFactory)
class _SecureFactory(ServerFactory[Switch]):
    """Makes the switches inside TLS."""

    noisy = False

    def __init__(self, outer: SwitchFactory) -> None:
        self._outer = outer

    def buildProtocol(self, addr: IAddress | None) -> Switch:
        return Switch(self._outer, inner=True)

    def acceptableProtocols(self) -> list[bytes]:
        return ALPN
