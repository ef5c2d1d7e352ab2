"""Names and passwords by HTTP Basic (RFC 7617): what browsers ask their users for, and send by themselves.

::

    no Authorization ─► 401 with a challenge
    one that cannot be meant ─► 403
    name and password ─► a check ─┬─► Identity(name)
                                  └─► 401 with a challenge, a guess
"""

from __future__ import annotations

from typing import Any, Protocol

from zope.interface import implementer

from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import IAuthenticator, Identity, Request
from wsproxy.plugins.credentials import Malformed, basicCredentials, same

__all__ = ["BasicAuthenticator", "PasswordCheck", "Passwords", "demand"]

_CHALLENGE = (("WWW-Authenticate", 'Basic realm="wsproxy", charset="UTF-8"'),)

_WRONG = "no user by this name with this password"


class PasswordCheck(Protocol):
    """Whose password is this?"""

    def check(self, user: str, password: str) -> Any:
        """
        @return: whether it is this user's; or a Deferred of that, which may fail with L{Refusal}. By its time nobody
            tells whether there is such a user.
        """


def demand(cause: str, *, guess: bool) -> Refusal:
    """@return: what has a browser ask for name and password."""
    return Refusal(401, "Name and password needed", _CHALLENGE, cause=cause, guess=guess)


@implementer(IAuthenticator)
class BasicAuthenticator:
    """Has a check decide about the name and password of each request."""

    def __init__(self, passwords: PasswordCheck) -> None:
        self._check = passwords.check

    def authenticate(self, request: Request) -> Any:
        """@return: the client's L{Identity}, or something to await for it."""
        header = request.headers.get("authorization")
        if not header:
            raise demand("no Authorization; browsers send it once they were asked", guess=False)
        try:
            user, password = basicCredentials(header)
        except Malformed as error:
            raise Refusal(403, "Credentials malformed", cause=str(error), guess=True) from None
        answer = self._check(user, password)
        if isinstance(answer, bool):
            return _identity(user, answer)
        return answer.addCallback(lambda good: _identity(user, good))


def _identity(user: str, good: bool) -> Identity:
    if not good:
        raise demand(_WRONG, guess=True)
    return Identity(user)


class Passwords:
    """
    BasicHTTPAuth: users and their passwords as they are.

    @param source: C{user:password}, one a line.
    @param option: by which it was given, for complaints.
    @raise ConfigError: it is none of that. Names the line, and nothing of what is in it.
    """

    def __init__(self, source: str, option: str = "--auth-source") -> None:
        self._users: dict[str, str] = {}
        for number, line in enumerate(source.splitlines(), 1):
            user, colon, password = line.partition(":")
            if line.strip() and not colon:
                raise ConfigError(f"{option}: line {number}: expected user:password")
            if colon:
                self._users[user] = password
        if not self._users:
            raise ConfigError(f"{option}: expected user:password")

    def check(self, user: str, password: str) -> bool:
        known = self._users.get(user)
        good = same(password, known or "")  # compared for whoever is unknown, too
        return good and known is not None
