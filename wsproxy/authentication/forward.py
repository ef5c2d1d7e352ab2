"""Forward authentication: another server is shown each request, and says who its client is (C{--auth-url}).

::

    Request ─► questionOf ─► Verifier ─┬─ 2xx ─► Identity, out of the headers of --auth-copy
                                       ├─ 401, 403 ─► the same, with WWW-Authenticate
                                       ├─ a redirect ─► the same to a page; 401 to an upgrade, which cannot follow
                                       └─ anything else, and nothing ─► 503

What is believed of the request is ours: a client's words on who it is, where it comes from and what it wants are taken
out of it before, in every spelling that a verifier may take for them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.web.http_headers import Headers
from zope.interface import implementer

from wsproxy.authentication.verifier import Answer, VerifierError
from wsproxy.errors import Refusal
from wsproxy.interfaces import IAuthenticator, Identity, Request

__all__ = ["ForwardAuth", "questionOf"]

_DROPPED = frozenset(
    {
        # of this connection and no other: RFC 9110 section 7.6.1
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authenticate", "proxy-authorization"),
        # of a body, and of what is wanted of the page
        *("content-encoding", "content-language", "content-length", "content-location", "content-type", "expect"),
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"),
        # what a proxy says
        *("forwarded", "host", "via", "x-real-ip"),
        # what a CGI program takes for its own proxy
        "proxy",
    }
)
_DROPPED_PREFIXES = ("sec-websocket-", "x-forwarded-", "x-original-", "x-auth-request-")
"""With the last two, verifiers for nginx are told what the request was for, and where to return to."""

_REDIRECTS = (301, 302, 303, 307, 308)

_CONTROL = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f]")


def questionOf(request: Request, copied: Sequence[str] = ()) -> Headers:
    """
    What a verifier is shown of a request.

    @param copied: names of headers that nobody but the verifier may set.
    """
    ours = {_spelling(name) for name in copied}
    listed = request.headers.get("connection", "").split(",")
    dropped = _DROPPED | ours | {_spelling(name) for name in listed}
    headers = Headers()
    for name, value in request.headers.items():
        spelling = _spelling(name)
        if spelling not in dropped and not spelling.startswith(_DROPPED_PREFIXES):
            headers.addRawHeader(_encode(name), _encode(value))
    for said, value in _said(request):
        headers.setRawHeaders(said, [_encode(value)])
    return headers


def _encode(text: str) -> bytes:
    """As it came; a request that came from no socket may have what no header has."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _spelling(name: str) -> str:
    """Names that a program behind CGI or WSGI cannot tell apart are the same."""
    return name.strip().lower().replace("_", "-")


def _said(request: Request) -> Iterator[tuple[bytes, str]]:
    """What we say of it."""
    client = _ip(request.client)
    yield b"X-Forwarded-Method", request.method
    yield b"X-Forwarded-Proto", "https" if request.publicSecure else "http"
    yield b"X-Forwarded-Host", request.publicHost or ""
    yield b"X-Forwarded-Uri", f"{request.path}?{request.rawQuery}" if request.rawQuery else request.path
    yield b"X-Forwarded-For", client
    yield b"X-Real-IP", client


def _ip(address: IAddress) -> str:
    """A client on a unix socket has none, and is not to pass for this machine: RFC 7239 section 6.2."""
    return address.host.partition("%")[0] if isinstance(address, (IPv4Address, IPv6Address)) else "unknown"


@implementer(IAuthenticator)
class ForwardAuth:
    """
    @param ask: shows these headers to a verifier, as L{Verifier.ask<wsproxy.authentication.verifier.Verifier.ask>}.
    @param copied: the headers of its answer that are passed on: the first is the identity, and must be there, all of
        them are claims by these names. Without any a client that is let in is nobody in particular.
    """

    def __init__(self, ask: Callable[[Headers], Awaitable[Answer]], copied: Sequence[str] = ()) -> None:
        self._ask = ask
        self._copied = copied

    async def authenticate(self, request: Request) -> Identity | None:
        """@raise Refusal: 401, 403 or a redirect, as the verifier says, or 503."""
        try:
            answer = await self._ask(questionOf(request, self._copied))
            return self._judge(answer, request)
        except VerifierError as error:
            raise Refusal(503, "Service unavailable", cause=f"--auth-url: {error}") from error

    def _judge(self, answer: Answer, request: Request) -> Identity | None:
        if 200 <= answer.status <= 299:
            return self._identity(answer)
        if answer.status in (401, 403):
            raise _refused(answer, request)
        if answer.status in _REDIRECTS:
            raise _redirected(answer, request)
        raise VerifierError(f"it answers {answer.status}")

    def _identity(self, answer: Answer) -> Identity | None:
        cookies = tuple(_passed(answer, "Set-Cookie"))
        if not self._copied:
            return Identity("", responseHeaders=cookies) if cookies else None
        name, *others = self._copied
        found = [text for _, text in _passed(answer, name) if text.strip()]
        if not found:
            raise Refusal(403, _FORBIDDEN, cause=f"--auth-copy: the answer of --auth-url has no {name}")
        if len(found) > 1:
            raise VerifierError(f"{name} is several times in its answer")
        claims = {each: _joined(answer, each) for each in others if answer.headers.hasHeader(each)}
        return Identity(found[0].strip(), {name: found[0].strip(), **claims}, responseHeaders=cookies)


_FORBIDDEN = "Not allowed"
_UNKNOWN = "Authentication needed"


def _refused(answer: Answer, request: Request) -> Refusal:
    passed = (*_passed(answer, "WWW-Authenticate"), *_passed(answer, "Set-Cookie"))
    if answer.status == 403:
        return Refusal(403, _FORBIDDEN, passed)
    return Refusal(401, _UNKNOWN, passed, guess="authorization" in request.headers)


def _redirected(answer: Answer, request: Request) -> Refusal:
    """
    Of the cookies a page gets those, too: they belong to the way that it is sent. An upgrade does not go it, and what
    comes with it might replace those of a page that does.
    """
    locations = tuple(_passed(answer, "Location"))
    if len(locations) != 1:
        raise VerifierError(f"it answers {answer.status} with {len(locations)} Locations")
    if not request.page:
        return Refusal(401, _UNKNOWN, cause="--auth-url answers with a redirect, which only a page can follow")
    return Refusal(answer.status, "Redirected", (*locations, *_passed(answer, "Set-Cookie")))


def _passed(answer: Answer, name: str) -> Iterator[tuple[str, str]]:
    """The headers of this name, to be passed on."""
    for value in answer.headers.getRawHeaders(name.encode("ascii"), ()):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            raise VerifierError(f"{name} in its answer is not UTF-8") from None
        if _CONTROL.search(text):
            raise VerifierError(f"{name} in its answer has control characters")
        yield name, text


def _joined(answer: Answer, name: str) -> str:
    return ", ".join(text for _, text in _passed(answer, name))
