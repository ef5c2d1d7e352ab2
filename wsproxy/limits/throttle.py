"""Clients that guess: after ten wrong credentials or tokens in five minutes, nothing is asked on their behalf.

::

    enter ─► blocked? 429 ─► the questions ─┬─► refused, a guess ─► counted; one too many? 429 instead of the refusal
                                            └─► admit ─► blocked meanwhile? 429

So somebody who is blocked is told the same whatever he tries, right guesses included, and causes no work. A guess is a
guess, whether it is made to come in, for a page, or for an explanation of why one would not come in: what is answered
tells as much.
"""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from wsproxy.errors import Refusal
from wsproxy.interfaces import Admitted, IGate, ITurnstile, Request
from wsproxy.limits.books import Book
from wsproxy.limits.guesses import ALLOWED, WINDOW, Verdict
from wsproxy.limits.subjects import customer, isOurs

__all__ = ["Throttle"]

_CAUSE = f"{ALLOWED} wrong credentials or tokens within {WINDOW / 60:.0f} minutes"


@implementer(IGate, ITurnstile)
class Throttle:
    """
    @param book: where guesses are counted. Those of loopback and of unix sockets are not: there may be a proxy in front
        that is not known as one, and all its clients would be one.
    """

    def __init__(self, book: Book) -> None:
        self._book = book

    def enter(self, request: Request) -> None:
        client = _counted(request)
        wait = 0.0 if client is None else self._book.guesses.wait(client)
        if wait:
            raise _blocked(wait)

    def refused(self, request: Request, refusal: Refusal) -> Any:
        client = _counted(request) if getattr(refusal, "guess", False) else None
        if client is None:
            return None
        verdict = self._book.count(client)
        return verdict.addCallback(_answer) if isinstance(verdict, Deferred) else _answer(verdict)

    def admit(self, admitted: Admitted) -> Any:
        client = _counted(admitted.request)
        if client is None:
            return None
        wait = self._book.check(client)
        return wait.addCallback(_pass) if isinstance(wait, Deferred) else _pass(wait)


def _counted(request: Request) -> str | None:
    client = request.client
    return None if isOurs(client) else customer(client)


def _answer(verdict: Verdict) -> None:
    if not verdict.told:
        raise _blocked(verdict.wait)


def _pass(wait: float) -> None:
    if wait:
        raise _blocked(wait)


def _blocked(wait: float) -> Refusal:
    return Refusal(429, "Too many failed attempts", (("Retry-After", str(math.ceil(wait))),), cause=_CAUSE)
