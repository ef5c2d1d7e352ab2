"""The embedder's way in: a factory that any Twisted service can listen with, on any endpoint.

No signals, no exit status, no global reactor: those are L{wsproxy.command.plugin}'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.web.resource import IResource

from wsproxy.access.clients import AllowedClients
from wsproxy.access.forwarded import TrustedProxies
from wsproxy.access.origin import OriginPolicy
from wsproxy.access.origingate import OriginGate
from wsproxy.config import ClientsConfig, LimitsConfig, LoggingConfig, ProxiesConfig, SessionsConfig, TargetConfig
from wsproxy.dialling.dial import Dialer
from wsproxy.ends.pump import Pump
from wsproxy.ends.watch import Watch
from wsproxy.errors import Close, CloseCode
from wsproxy.frontend.answer import METHODS
from wsproxy.frontend.switch import SwitchFactory
from wsproxy.frontend.upgrade import Doors, FrontDoor
from wsproxy.frontend.web import WebSite
from wsproxy.interfaces import (
    AnyAuthenticator,
    AnyAuthoriser,
    AnyDialer,
    AnyGate,
    AnyNegotiator,
    AnyObserver,
    AnyResolver,
    AnyTurnstile,
    Request,
    TapFactory,
)
from wsproxy.sessions.sessions import Sessions
from wsproxy.tls.server import asksForCertificates

__all__ = ["WebSockifyFactory"]

_CLIENTS, _SESSIONS, _PROXIES = ClientsConfig(), SessionsConfig(), ProxiesConfig()  # whose defaults are ours


class WebSockifyFactory(SwitchFactory):
    """
    Bridges WebSocket clients to TCP or unix-socket targets, and serves TLS, HTTP and Flash policies on the same port.

    @param reactor: for time and for dialling.
    @param resolver: where each request leads. Like those below, an object with that interface, or what is called in
        place of its one method.
    @param dialer: how a target is reached; by default by its target string.
    @param authenticator: who a client is; by default anybody.
    @param authoriser: who may go where; by default anybody anywhere.
    @param negotiate: talks with the client and the target before the tunnel between them opens, for
        C{handshakeTimeout} at most: see L{INegotiator<wsproxy.interfaces.INegotiator>}.
    @param gates: who may ask at all: before any question, and of pages, too. See
        L{IGate<wsproxy.interfaces.IGate>}.
    @param turnstiles: what is counted or spent as a client comes in, the last step before its session.
    @param webAuth: the authenticator is asked about requests for pages, too.
    @param observers: are told of each session.
    @param allow: addresses and networks of those who may come in at all, as C{--allow} takes them; none: anybody.
    @param trustedProxies: which proxies in front are believed what they say of their clients, as C{--trusted-proxy}
        takes them: C{Request.client} is the real one then.
    @param sendProxy: C{"v1"} or C{"v2"}: each target is told of its client in a header of the PROXY protocol, unless
        C{Target.proxyHeader} says otherwise. A C{dialer} of one's own sees to that itself.
    @param origins: pages that may connect, as C{--origin} takes them; by default those of the same host, whatever
        their scheme and port, but on a loopback host of the same port. Or what is asked about each upgrade, and
        answers at once; C{request.headers.get("origin")} is L{None} for a client that is no browser.
    @param originRequired: refuse clients without an C{Origin}, which are no browsers.
    @param strictScheme: refuse pages of C{http:} over TLS, unless they are in C{origins}; by default where something
        that browsers send by themselves may let them in: an authenticator is asked, or client certificates are.
    @param subprotocols: names accepted beside C{binary} and C{base64}.
    @param text: accept text messages, as their UTF-8 bytes.
    @param pages: the resource plain requests see, below the root; L{None} answers them 405.
    @param methods: what C{pages} are asked for with beside C{GET} and C{HEAD}: C{POST}, say. Bodies have 1 MiB at most,
        a C{Content-Length}, and as much time as the request.
    @param tls: makes the server side of TLS connections, e.g. L{twisted.internet.ssl.CertificateOptions};
        L{None} for a port without TLS.
    @param tlsOnly: answer plaintext HTTP with 400.
    @param handshakeTimeout: seconds for each stage up to the upgrade.
    @param connectTimeout: seconds until a target is connected; a C{dialer} of one's own has a second more.
    @param heartbeat: seconds between pings; 0 for none.
    @param bandwidth: bytes a second of a session, in each direction; 0 for no limit.
    @param bandwidthPerIdentity: likewise, of all sessions together of one identity, by its name; sessions without one
        have no limit of this kind.
    @param sessionTimeout: seconds that a session may last, until it is closed with 4001; 0 for as long as it likes.
    @param sessionIdleTimeout: seconds without payload, either way, that it may; 0 for as many as it likes.
    @param taps: each is asked for a tap on each session.
    @param pump: relay between sockets directly, with TLS or without, where the reactor can.
    @param raw: pass clients that speak neither TLS nor HTTP to the target as they are. They have no Origin, and nothing
        to show to an authenticator.
    @param rawAfter: seconds after which a client that has said nothing is one of those.
    @param legacy: let in clients of the drafts: WebSocket version 8, Hixie-75 and -76.
    @param rawOnly: pass every client so, at once.
    @param shownPath: what the log says of a request's path, where that may hold a token: its template, say.
    @param verbose: log what becomes of connections that never open a session.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        resolver: AnyResolver,
        dialer: AnyDialer | None = None,
        authenticator: AnyAuthenticator | None = None,
        authoriser: AnyAuthoriser | None = None,
        negotiate: AnyNegotiator | None = None,
        gates: Sequence[AnyGate] = (),
        turnstiles: Sequence[AnyTurnstile] = (),
        webAuth: bool = False,
        observers: Sequence[AnyObserver] = (),
        allow: tuple[str, ...] = _PROXIES.allow,
        trustedProxies: tuple[str, ...] = _PROXIES.trusted,
        sendProxy: str | None = _PROXIES.send,
        origins: Sequence[str] | Callable[[Request], bool] = _SESSIONS.origins,
        originRequired: bool = _SESSIONS.originRequired,
        strictScheme: bool | None = None,
        subprotocols: tuple[str, ...] = _SESSIONS.subprotocols,
        text: bool = _SESSIONS.text,
        pages: IResource | None = None,
        methods: Sequence[str] = (),
        tls: IOpenSSLServerConnectionCreator | None = None,
        tlsOnly: bool = False,
        flashPolicy: bool = _CLIENTS.flashPolicy,
        handshakeTimeout: float = _CLIENTS.handshakeTimeout,
        connectTimeout: float = TargetConfig().connectTimeout,
        heartbeat: float = _SESSIONS.heartbeat,
        bandwidth: float = _SESSIONS.bandwidth,
        bandwidthPerIdentity: float = LimitsConfig().bandwidthPerIdentity,
        sessionTimeout: float = _SESSIONS.sessionTimeout,
        sessionIdleTimeout: float = _SESSIONS.sessionIdleTimeout,
        taps: Sequence[TapFactory] = (),
        pump: bool = _SESSIONS.pump,
        raw: bool = _CLIENTS.raw,
        rawAfter: float = _CLIENTS.rawAfter,
        legacy: bool = _CLIENTS.legacy,
        rawOnly: bool = _CLIENTS.rawOnly,
        shownPath: Callable[[Request], str] | None = None,
        verbose: bool = LoggingConfig().verbose,
    ) -> None:
        self._reopen: Callable[[], None] | None = None
        listed: Sequence[str] = ("*",) if callable(origins) else origins
        if callable(origins):
            gates = [*gates, OriginGate(origins)]
        if strictScheme is None:
            strictScheme = authenticator is not None or asksForCertificates(tls)
        if dialer is None:
            dialer = Dialer(reactor, connectTimeout=connectTimeout, sendProxy=sendProxy)
        proxies = TrustedProxies(trustedProxies) if trustedProxies else None
        gates = (AllowedClients(allow), *gates) if allow else gates
        self.sessions = Sessions(
            reactor,
            resolver=resolver,
            dialer=dialer,
            authenticator=authenticator,
            authoriser=authoriser,
            negotiator=negotiate,
            gates=gates,
            turnstiles=turnstiles,
            webAuth=webAuth,
            origins=OriginPolicy(tuple(listed), strictScheme=strictScheme, required=originRequired),
            subprotocols=subprotocols,
            text=text,
            decisionTimeout=handshakeTimeout,
            connectTimeout=connectTimeout,
            heartbeat=heartbeat,
            bandwidth=bandwidth,
            bandwidthPerIdentity=bandwidthPerIdentity,
            sessionTimeout=sessionTimeout,
            sessionIdleTimeout=sessionIdleTimeout,
            taps=taps,
            pump=Pump(reactor) if pump and Pump.available(reactor) else Watch(reactor),
            shownPath=shownPath,
            observers=observers,
        )
        self.doors = _doors(legacy, handshakeTimeout)
        door = self._door = self.doors(reactor, self.sessions, pages, proxies=proxies)
        super().__init__(
            reactor,
            WebSite(
                door, reactor, handshakeTimeout, door.upgrade, door.arrive, self.sessions.refusals, _methods(methods)
            ),
            tls=tls,
            tlsOnly=tlsOnly,
            flashPolicy=flashPolicy,
            handshakeTimeout=handshakeTimeout,
            verbose=verbose,
            raw=partial(self.sessions.open, raw=True) if raw or rawOnly else None,
            rawAfter=rawAfter,
            rawOnly=rawOnly,
            proxies=proxies,
            enter=self.sessions.enter if gates else None,
        )

    def become(self, other: SwitchFactory, tls: IOpenSSLServerConnectionCreator | None) -> None:
        """
        Receive clients as C{other}, made with other settings, would from now on: it is used up by that. Sessions, and
        clients that wait to be decided about, go on as they began; C{heartbeat} and the like are those of their
        beginning. Listening ports stay, as do C{sessions} and its observers.
        """
        assert isinstance(other, WebSockifyFactory)
        super().become(other, tls)
        self._door.become(other._door)
        self.sessions.become(other.sessions)
        self.raw = None if other.raw is None else partial(self.sessions.open, raw=True)
        self.enter = None if other.enter is None else self.sessions.enter

    def beside(self, tls: IOpenSSLServerConnectionCreator | None, tlsOnly: bool) -> SwitchFactory:
        """@return: the same for another port, with a TLS side of its own."""
        other = SwitchFactory(self.clock, self.site)
        other.connections = self.connections
        other.turns = self.turns
        other.rawOnly = self.rawOnly
        other.shaken = lambda seconds: None if self.shaken is None else self.shaken(seconds)
        self.adjust(other, tls, tlsOnly)
        return other

    def adjust(self, other: SwitchFactory, tls: IOpenSSLServerConnectionCreator | None, tlsOnly: bool) -> None:
        """Have one that is L{beside} this as this is by now."""
        other.become(self, tls)
        other.raw, other.enter, other.tlsOnly = self.raw, self.enter, tlsOnly

    def refuseNew(self, reason: str = "Server going down") -> Callable[[], None]:
        """
        Let only the sessions go on: other connections end, and new upgrades are answered 503.

        @param reason: what those read.
        @return: undoes it.
        """
        reopen = self.sessions.refuseNew(reason)
        self.abortIdle()
        return reopen

    def startFactory(self) -> None:
        """It is listened with, for the first time or again."""
        super().startFactory()
        if self._reopen is not None:
            self._reopen()
            self._reopen = None

    def closeAll(self, within: float = 6.0) -> Deferred[None]:
        """
        End every connection: sessions with close code 1001, the rest at once. New upgrades are answered 503, until it
        is listened with again.

        @param within: seconds until sessions are aborted that are still closing.
        @return: fires when the last session is gone, a second after that at the latest.
        """
        if self._reopen is None:
            self._reopen = self.refuseNew()
        self.abortIdle()
        self.sessions.refusals.flush()
        return self.sessions.closeAll(Close(CloseCode.GOING_AWAY, "Server going down"), within)


def _doors(legacy: bool, handshakeTimeout: float) -> Doors:
    if not legacy:
        return FrontDoor
    from wsproxy.frontend.legacy import LegacyDoor  # late: for some

    return partial(LegacyDoor, handshakeTimeout=handshakeTimeout)


def _methods(others: Sequence[str]) -> tuple[bytes, ...]:
    """@raise ValueError: one of them is no method, or one that the port keeps to itself."""
    named = tuple(method.encode("ascii") for method in others if method.encode("ascii") not in METHODS)
    for method in named:
        if not method.isalpha() or method in (b"CONNECT", b"OPTIONS", b"TRACE"):
            raise ValueError(f"{method!r} is no method of pages")
    return METHODS + named
