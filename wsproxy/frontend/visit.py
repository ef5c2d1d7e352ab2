"""A request for a page where somebody is asked first: it waits, and goes on to its page, or is told no.

::

    FrontDoor ─► Sessions.visit ─┬─► the page
                                 └─► Refusal: 401, 403, …, or a redirect to where one signs in

Until then no resource has seen it, so that whoever may not have a page cannot tell whether there is one, neither by an
answer nor by the time that it takes.
"""

from __future__ import annotations

import re

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Request as ServerRequest

from wsproxy.errors import Refusal
from wsproxy.fault import logFault
from wsproxy.frontend.answer import headerBytes, phrase
from wsproxy.interfaces import Identity
from wsproxy.sessions.bounded import GivenUp

__all__ = ["isForAnybody", "visit"]

_log = Logger()

_PROOF = re.compile(rb"/\.well-known/acme-challenge/[A-Za-z0-9_-]+")
"""Where an authority looks for a proof that the host is ours: RFC 8555 section 8.3. It asks from anywhere, and has
nothing to show for itself; who asks for one must know its name, of 128 random bits."""


def isForAnybody(path: bytes) -> bool:
    """Whether it does not matter who asks for this path, as sent; gates are asked all the same."""
    return _PROOF.fullmatch(path) is not None


def visit(request: ServerRequest, asking: Deferred[Identity | Refusal | None], pages: IResource) -> None:
    """
    Answer C{request} out of C{pages} where C{asking} comes to no refusal. Its connection stays with HTTP either way.

    @param asking: is cancelled when the client leaves.
    """
    left = request.notifyFinish()
    left.addErrback(lambda _: asking.cancel())

    def answer(result: Identity | Refusal | None) -> None:
        if isinstance(result, Refusal):
            _refuse(request, result)
        else:
            _serve(request, pages, result)

    def broken(failure: Failure) -> None:
        if not left.called:
            request.processingFailed(failure)  # which logs it
        elif not failure.check(GivenUp):
            logFault(_log, "answering a visitor", failure)

    asking.addCallback(answer).addErrback(broken)


def _serve(request: ServerRequest, pages: IResource, identity: Identity | None) -> None:
    for header in () if identity is None else identity.responseHeaders:
        request.responseHeaders.addRawHeader(*headerBytes(*header))
    request.render(getChildForRequest(pages, request))


def _refuse(request: ServerRequest, refusal: Refusal) -> None:
    """Answer with this, and no more: the connection is good for the next request."""
    body = f"{refusal.status} {refusal.reason}\n".encode(errors="replace")
    request.setResponseCode(refusal.status, phrase(refusal.status).encode())
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    for header in refusal.headers:
        request.responseHeaders.addRawHeader(*headerBytes(*header))
    request.write(body)
    request.finish()
