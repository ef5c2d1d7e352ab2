"""The boundaries: what plugins and embedders implement, and the values that cross them. No logic but reading them.

::

    Request ─► Identity ─► Target ─► 101 ─► Session ─► Ending

Each decision about a client is one of four questions. Every method may answer with a plain value, a
L{Deferred<twisted.internet.defer.Deferred>} or a coroutine, and has a deadline. Before the 101 it refuses by raising
L{wsproxy.errors.Refusal}; any other exception, and what is no answer, is answered 503 and logged.

Once a client is let in, it is a L{Session}: dialers, taps and observers are given that one noun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import Interface

from wsproxy.errors import Close, Refusal

if TYPE_CHECKING:
    from cryptography.x509 import Certificate  # 30 ms, which only TLS is worth

__all__ = [
    "Admitted",
    "AnyAuthenticator",
    "AnyAuthoriser",
    "AnyDialer",
    "AnyGate",
    "AnyNegotiator",
    "AnyObserver",
    "AnyResolver",
    "AnyTurnstile",
    "Buffer",
    "Conversation",
    "Ending",
    "Forwarded",
    "IAuthenticator",
    "IAuthoriser",
    "IDialer",
    "IGate",
    "INegotiator",
    "IObserver",
    "IResolver",
    "IStatusStop",
    "ITurnstile",
    "Identity",
    "Request",
    "Session",
    "Tap",
    "TapFactory",
    "Target",
]

Buffer: TypeAlias = bytes | memoryview
"""A piece of payload. A C{memoryview} is valid only during the call that it is given to."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What proxies in front say of a client, as far as they are trusted.

    @ivar client: its address; its port is 0 where they do not tell.
    @ivar server: the address that it connected to, where a header of the PROXY protocol tells.
    @ivar host: the authority that it connected to, as a URL has it; L{None}: that of C{Host}.
    @ivar secure: whether it came to them over TLS; L{None} where they do not tell.
    """

    client: IAddress
    server: IAddress | None = None
    host: str | None = None
    secure: bool | None = None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Request:
    """An upgrade request as plugins see it; where those who decide are asked about pages too, one for a page.

    @ivar path: the request path as sent, percent-encoded, without the query.
    @ivar queryAll: query parameters, decoded: all values of each name, in their order.
    @ivar rawQuery: the query as sent, without the question mark.
    @ivar headers: header values by lower-case name; repeated headers are joined with C{", "}, cookies with C{"; "}.
    @ivar peer: the address that the connection comes from, the client's or that of a proxy in front; one of IPv4 on a
        socket for both families is an IPv4 address all the same. Who judges or counts wants L{client}.
    @ivar host: the address it leads to, likewise.
    @ivar secure: whether it came over TLS, to us or to the endpoint that listens.
    @ivar subprotocols: what it offered, in its order.
    @ivar certificate: what the client has shown of itself in TLS, where that asked for it; verified as that was set up.
    @ivar explaining: it is only asked what would become of it. Answer as ever, but spend nothing: neither a token that
        is good for one time, nor room for a session. A guess is a guess (L{wsproxy.errors.Refusal}'s C{guess}) and is
        counted: who tries out credentials learns as much from the explanation.
    @ivar page: it is for a page or a file, and no session comes of it. A refusal may be a redirect.
    @ivar method: C{"GET"} of an upgrade; of a page C{"HEAD"} as well, or what a resource of an embedder takes.
    @ivar forwarded: what proxies in front say of the client, where any are trusted.
    """

    path: str
    headers: Mapping[str, str]
    peer: IAddress
    host: IAddress
    secure: bool
    queryAll: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subprotocols: tuple[str, ...] = ()
    certificate: Certificate | None = None
    explaining: bool = False
    rawQuery: str = ""
    page: bool = False
    method: str = "GET"
    forwarded: Forwarded | None = None

    @property
    def query(self) -> Mapping[str, str]:
        """Query parameters, decoded; the first value of each name counts. Made anew each time."""
        return {name: values[0] for name, values in self.queryAll.items()}

    @property
    def cookies(self) -> Mapping[str, str]:
        """
        Cookies as sent, nothing decoded: RFC 6265 section 4.2.1. The first of a name counts, which browsers set for
        the longest path (section 5.4). Made anew each time.
        """
        pairs = (pair.partition("=") for pair in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, equals, value in reversed([*pairs]) if equals}

    @property
    def client(self) -> IAddress:
        """Who is to be counted and judged by an address: the C{peer}, or whom a trusted proxy names there."""
        return self.peer if self.forwarded is None else self.forwarded.client

    @property
    def publicHost(self) -> str | None:
        """
        The authority that a browser connected to: C{Host}, or what a trusted proxy says. To be compared with what
        browsers say, an Origin; other clients may have written it themselves, either way.
        """
        said = None if self.forwarded is None else self.forwarded.host
        return self.headers.get("host") if said is None else said

    @property
    def publicSecure(self) -> bool:
        """
        Whether a browser came over TLS, to us or to a proxy in front, as far as that is trusted: for what browsers make
        of it, such as cookies. It is no proof that others did: that is C{secure}.
        """
        said = None if self.forwarded is None else self.forwarded.secure
        return self.secure if said is None else said


@dataclass(frozen=True)
class Identity:
    """
    Who the client is, as an authenticator established it.

    @ivar name: appears in the log. An empty one is nobody in particular, and all that counts are C{responseHeaders}.
    @ivar claims: what else is known of it.
    @ivar expires: until when it is good, as L{Target.expires}.
    @ivar responseHeaders: what the answer that lets it in has beside its own headers, each as often as it is there:
        C{("Set-Cookie", …)} on a 101, or on a page. None that HTTP or the handshake needs for itself, no control
        characters; in UTF-8.
    """

    name: str
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    responseHeaders: tuple[tuple[str, str], ...] = ()
    expires: float | None = None


@dataclass(frozen=True)
class Target:
    """Where a session leads.

    @ivar text: a target string as C{--target} takes it, such as C{host:port} or C{unix:/path}.
    @ivar expires: until when this answer is good, in seconds since the epoch; L{None} for ever. The session ends then,
        or earlier with its L{Identity}, by 4001.
    @ivar claims: what the resolver knows beside it, of a token say.
    @ivar sockets: whether whoever named it may name unix sockets, as files of the operator's may. Others' words, of an
        HTTP service say, are dialled as sockets only where a pattern of C{--allow-target} is about them.
    @ivar proxyHeader: C{"v1"} or C{"v2"}: this target is told of its client in a header of the PROXY protocol.
    """

    text: str
    expires: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    proxyHeader: str | None = None
    sockets: bool = False

    def __str__(self) -> str:
        return self.text


class Session(Protocol):
    """One client that was let in, from its 101 to the end of its connection, and of its target's."""

    @property
    def id(self) -> str:
        """Its name: 128 random bits, in 32 hexadecimal digits. People see the first eight, log events have all."""

    @property
    def request(self) -> Request:
        """
        What it came with. Whole while observers hear of the opening, taps are made and the dialer is called, until that
        returns or first waits; who needs more of it later keeps that. From then on only C{peer}, C{client}, C{host} and
        C{secure} are left of it: a stranger may have made the rest 64 KiB large, and sessions last for days.
        """

    @property
    def identity(self) -> Identity | None:
        """Who the client is; L{None} for anybody."""

    @property
    def target(self) -> Target:
        """Where it leads."""

    @property
    def started(self) -> float:
        """When it began, in seconds since the epoch."""

    def close(self, close: Close) -> None:
        """
        End it with this close code and reason. Not to be called from within a call to a tap or its factory. Harmless
        when it is over.

        @raise TypeError: it is no L{Close<wsproxy.errors.Close>} that a client can be sent, as is L{ValueError}.
        """

    def expireAt(self, when: float | None) -> None:
        """
        From now on its access ends then, sooner or later than before: so it is renewed. It does with close code 4001,
        C{Token expired}, a second after that at the latest. Harmless when it is over; one that is closing already goes
        on to do so. C{--session-timeout} holds all the same.

        @param when: in seconds since the epoch; L{None} for never.
        """


class Admitted(Protocol):
    """A client that every question about was answered well, and that has no session yet."""

    @property
    def request(self) -> Request: ...

    @property
    def identity(self) -> Identity | None:
        """Who the client is; L{None} for anybody."""

    @property
    def target(self) -> Target:
        """Where it is to be led."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended.

    @ivar by: who ended it: C{"client"}, C{"target"} or C{"proxy"}.
    @ivar close: with which close code, and why.
    @ivar cause: what else there is to say of a target that was not reached, for the log and not for the client.
    @ivar seconds: how long it lasted.
    @ivar up: bytes of payload from the client.
    @ivar down: bytes from the target.
    """

    by: str
    close: Close
    cause: str = ""
    seconds: float = 0.0
    up: int = 0
    down: int = 0


class IAuthenticator(Interface):
    """Who is this client?"""

    def authenticate(request: Request) -> Any:
        """
        @return: an L{Identity}, or L{None} for an anonymous client.
        @raise wsproxy.errors.Refusal: 401 or 403.
        """


class IResolver(Interface):
    """Where does this request lead?"""

    def resolve(request: Request, identity: Identity | None) -> Any:
        """
        @param identity: who asks, as the authenticator has it.
        @return: a L{Target}, or its text.
        @raise wsproxy.errors.Refusal: 403 where it leads nowhere; the same bytes for a known and an unknown token.
        """


class IAuthoriser(Interface):
    """May this client go there?"""

    def authorise(request: Request, identity: Identity | None, target: Target) -> Any:
        """
        @return: L{None}; returning is consent, but for what looks like a no.
        @raise wsproxy.errors.Refusal: 403.
        """


class IGate(Interface):
    """
    May this client ask at all? Before any question is, and of requests for pages, too; of these once more, where it was
    established who the client is, which may have taken a while.
    """

    def enter(request: Request) -> None:
        """
        Answer at once: it is called for every request.

        @raise wsproxy.errors.Refusal: 403 or 429.
        """

    def refused(request: Request, refusal: Refusal) -> Any:
        """
        It was let in here, but not by those who were asked after; C{refusal.guess} tells why.

        @return: L{None}, or what fires with that before the client is told anything.
        @raise wsproxy.errors.Refusal: what it is told instead.
        """


class ITurnstile(Interface):
    """What is counted or spent as a client comes in: the last step before its session."""

    def admit(admitted: Admitted) -> Any:
        """
        Where C{admitted.request.explaining}, tell without counting or spending anything.

        @return: L{None}, or what is to be called, once, when the session has ended, or has not come about after all.
        @raise wsproxy.errors.Refusal: 403, 429 or 503.
        """


class IDialer(Interface):
    """How is a target reached?

    It may have another method, C{foresee(target)}: asked before the client is let in, it raises
    L{DialError<wsproxy.errors.DialError>} for a target that it will not dial. The client is told 403.
    """

    def dial(session: Session, factory: IProtocolFactory) -> Any:
        """
        Connect to C{session.target} and build its protocol with C{factory}. The Deferred is cancelled at its deadline,
        and when the session ends before. C{session.request} is whole until this returns or first waits.

        @return: the L{IProtocol} that C{factory} built, connected; or one that stands between it and the target, and
            connects it then or later.
        @raise wsproxy.errors.DialError: what the client reads in the close reason (close code 1011). Of any other
            exception it learns nothing, and the log has the traceback.
        """


class Conversation(Protocol):
    """
    One side of a session, before the tunnel opens. What of it nobody has read is relayed then, before everything else.

    Reads are waited for one at a time. They fail where the other side has gone, and with L{ValueError} where 64 KiB
    would not do.
    """

    @property
    def session(self) -> Session:
        """Whose it is."""

    def readExactly(self, size: int) -> Deferred[bytes]:
        """@param size: bytes, at most 64 KiB."""

    def readUntil(self, delimiter: bytes, limit: int = ...) -> Deferred[bytes]:
        """
        @param limit: bytes, the delimiter included; 64 KiB at most, and by default.
        @return: fires with all up to the delimiter, and that.
        """

    def write(self, data: bytes) -> None:
        """Send this. A client gets it as a message of its own."""

    def startTLS(self, settings: Any) -> Deferred[None]:
        """
        Speak TLS from here on: with a target as a client, with a client as a server, inside of its session.

        @param settings: of a target, such as L{optionsForClientTLS<twisted.internet.ssl.optionsForClientTLS>} makes
            for its host; of a client, such as L{CertificateOptions<twisted.internet.ssl.CertificateOptions>}.
        @return: fires when the handshake is done, and what C{settings} verify is verified; fails with
            L{DialError<wsproxy.errors.DialError>}.
        """


class INegotiator(Interface):
    """What is to be said before the tunnel opens?"""

    def negotiate(client: Conversation, target: Conversation) -> Any:
        """
        The target is connected, the client has its 101. Within the C{handshakeTimeout}; then, and where the client
        leaves, it is cancelled. The tunnel opens when this returns, or its coroutine or Deferred is done.

        @raise wsproxy.errors.DialError: what the client reads in the close reason (close code 1011). Of any other
            exception it learns nothing, and the log has the traceback.
        """


class IObserver(Interface):
    """Learns of sessions coming and going.

    It is waited for by nobody. One that raises when a session opens ends it; what comes later, of a Deferred or a
    coroutine that it answers with, is logged where it is an exception.
    """

    def opened(session: Session) -> Any:
        """A client was accepted; its target has not been dialled yet."""

    def closed(session: Session, ending: Ending) -> Any:
        """A session has ended, and nothing is left of it."""


class Tap(Protocol):
    """Watches one tunnel. Buffers are valid only during the call. A tap that raises ends its session."""

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        """Payload the client sent; C{partial} when the last frame is still incomplete."""

    def toTarget(self, congested: bool) -> None:
        """That payload was written; C{congested} when the target has not taken all of it."""

    def fromTarget(self, data: Buffer) -> None:
        """Bytes the target sent."""

    def toClient(self, congested: bool) -> None:
        """They were written; C{congested} when the client has not taken all of them."""

    def close(self) -> None:
        """The session is over; no call follows."""


TapFactory: TypeAlias = Callable[[Session], Tap | None]
"""Asked once for each session, before its first byte; L{None} for one that is of no interest."""


class _Authenticates(Protocol):
    def authenticate(self, request: Request) -> Any: ...


class _Resolves(Protocol):
    def resolve(self, request: Request, identity: Identity | None) -> Any: ...


class _Authorises(Protocol):
    def authorise(self, request: Request, identity: Identity | None, target: Target) -> Any: ...


class _Gates(Protocol):
    def enter(self, request: Request) -> None: ...

    def refused(self, request: Request, refusal: Refusal) -> Any: ...


class _Admits(Protocol):
    def admit(self, admitted: Admitted) -> Any: ...


class _Dials(Protocol):
    def dial(self, session: Session, factory: IProtocolFactory) -> Any: ...


class _Negotiates(Protocol):
    def negotiate(self, client: Conversation, target: Conversation) -> Any: ...


class _Observes(Protocol):
    def opened(self, session: Session) -> Any: ...

    def closed(self, session: Session, ending: Ending) -> Any: ...


# What is taken for each: what provides the interface, as the plugin for zope.interface tells mypy; what has its method,
# as mypy sees for itself; and what is called in place of that, where it is one.
AnyAuthenticator: TypeAlias = "IAuthenticator | _Authenticates | Callable[[Request], Any]"
AnyResolver: TypeAlias = "IResolver | _Resolves | Callable[[Request, Identity | None], Any]"
AnyAuthoriser: TypeAlias = "IAuthoriser | _Authorises | Callable[[Request, Identity | None, Target], Any]"
AnyDialer: TypeAlias = "IDialer | _Dials | Callable[[Session, IProtocolFactory], Any]"
AnyObserver: TypeAlias = "IObserver | _Observes"
AnyNegotiator: TypeAlias = "INegotiator | _Negotiates | Callable[[Conversation, Conversation], Any]"
AnyGate: TypeAlias = "IGate | _Gates"
AnyTurnstile: TypeAlias = "ITurnstile | _Admits | Callable[[Admitted], Any]"


class IStatusStop(Interface):
    """How a service asks for the whole process to end; only L{wsproxy.command.plugin} provides it."""

    def stop(status: int) -> None:
        """Stop the reactor and leave with this exit status. The first status given wins."""

    def fail(failure: Failure) -> None:
        """It cannot go on as it is configured: say why in one line, and stop with status 1."""
