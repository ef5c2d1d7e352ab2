"""The boundaries: what plugins and embedders implement, and the values that cross them. No logic.

Each decision about a client is one of four questions. Every method may answer with a plain value, a
L{Deferred<twisted.internet.defer.Deferred>} or a coroutine, and has a deadline. Before the 101 it refuses by raising
L{wsproxy.errors.Refusal}; any other exception, and what is no answer, is answered 503 and logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import Interface

__all__ = [
    "AnyAuthenticator",
    "AnyAuthoriser",
    "AnyDialer",
    "AnyResolver",
    "IAuthenticator",
    "IAuthoriser",
    "IDialer",
    "IResolver",
    "IStatusStop",
    "Identity",
    "Request",
    "Target",
]


@dataclass(frozen=True)
class Request:
    """An upgrade request as plugins see it.

    @ivar path: the request path as sent, percent-encoded, without the query.
    @ivar query: query parameters, decoded; the first value of each name counts.
    @ivar headers: header values by lower-case name; repeated headers are joined with C{", "}, cookies with C{"; "}.
    @ivar peer: the client's address; one of IPv4 on a socket for both families is an IPv4 address all the same.
    @ivar host: the address it connected to, likewise.
    @ivar secure: whether it came over TLS, to us or to the endpoint that listens.
    @ivar subprotocols: what it offered, in its order.
    @ivar explaining: it is only asked what would become of it. Answer as ever, but spend nothing (a token that is good
        for one time), and count nothing against the client.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: IAddress
    host: IAddress
    secure: bool
    subprotocols: tuple[str, ...] = ()
    explaining: bool = False


@dataclass(frozen=True)
class Identity:
    """Who the client is, as an authenticator established it. C{name} appears in the log."""

    name: str
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """Where a session leads: a target string as C{--target} takes it, such as C{host:port} or C{unix:/path}."""

    text: str

    def __str__(self) -> str:
        return self.text


class IAuthenticator(Interface):
    """Who is this client?"""

    def authenticate(request: Request) -> Any:
        """
        @return: an L{Identity}, or L{None} for an anonymous client.
        @raise wsproxy.errors.Refusal: 401 or 403.
        """


class IResolver(Interface):
    """Where does this request lead?"""

    def resolve(request: Request) -> Any:
        """
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


class IDialer(Interface):
    """How is a target reached?"""

    def dial(target: Target, factory: IProtocolFactory) -> Any:
        """
        Connect to C{target} and build its protocol with C{factory}; cancelling the Deferred gives up.

        @return: the L{IProtocol} that C{factory} built, connected; or one that stands between it and the target, and
            connects it then or later.
        @raise wsproxy.errors.DialError: what the client reads in the close reason (close code 1011). Of any other
            exception it learns nothing, and the log has the traceback.
        """


class _Authenticates(Protocol):
    def authenticate(self, request: Request) -> Any: ...


class _Resolves(Protocol):
    def resolve(self, request: Request) -> Any: ...


class _Authorises(Protocol):
    def authorise(self, request: Request, identity: Identity | None, target: Target) -> Any: ...


class _Dials(Protocol):
    def dial(self, target: Target, factory: IProtocolFactory) -> Any: ...


# What is taken for each: what provides the interface, as the plugin for zope.interface tells mypy; what has its method,
# as mypy sees for itself; and what is called in place of that.
AnyAuthenticator: TypeAlias = "IAuthenticator | _Authenticates | Callable[[Request], Any]"
AnyResolver: TypeAlias = "IResolver | _Resolves | Callable[[Request], Any]"
AnyAuthoriser: TypeAlias = "IAuthoriser | _Authorises | Callable[[Request, Identity | None, Target], Any]"
AnyDialer: TypeAlias = "IDialer | _Dials | Callable[[Target, IProtocolFactory], Any]"


class IStatusStop(Interface):
    """How a service asks for the whole process to end; only L{wsproxy.command.plugin} provides it."""

    def stop(status: int) -> None:
        """Stop the reactor and leave with this exit status. The first status given wins."""

    def fail(failure: Failure) -> None:
        """It cannot go on as it is configured: say why in one line, and stop with status 1."""


