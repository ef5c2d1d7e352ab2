"""The server that C{--auth-url} names: one GET to it, and the status and the headers of its answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError, ConnectionAborted, VerifyError
from twisted.web.http_headers import Headers

from wsproxy.dialling.webservice import LONGEST, Answer, TooLong, WebService, WebServiceError

__all__ = ["Answer", "Verifier", "VerifierError"]


class VerifierError(Exception):
    """There is no answer that could count. C{str()} is for the log: one line without a secret."""


class Verifier:
    """
    @param reactor: for time, and to connect with.
    @param url: C{http} or C{https}, without credentials.
    @param turns: how many requests there are at a time; others wait.
    @param queue: how many wait; L{None}: all.
    """

    def __init__(self, reactor: Any, url: str, *, turns: int, queue: int | None = None) -> None:
        self._service = WebService(reactor, turns=turns, queue=queue)
        self._url = url.encode("ascii")

    def close(self) -> Deferred[None]:
        """Drop the connections that wait for a next request. @return: fires when they are gone."""
        return self._service.close()

    async def ask(self, headers: Headers) -> Answer:
        """
        GET the url with these headers.

        @raise VerifierError: no answer has come, in time, whole.
        """
        try:
            return await self._service.get(self._url, headers)
        except WebServiceError as error:
            raise VerifierError(_why(error)) from error


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ConnectBindError,), "no connection can be made"),
    ((VerifyError,), "its certificate is not accepted"),
    # of all that is aborted by us, a head that is too long is left
    ((TooLong, ConnectionAborted), f"its answer is too long: {LONGEST >> 10} KiB at most"),
)
"""What operators of C{--auth-url} read, where that is not what all services are said to do."""


def _why(error: WebServiceError) -> str:
    return next((words for kinds, words in _WORDS if isinstance(error.cause, kinds)), str(error))
