"""C{--auth}: Twisted's own credential checkers, by the strings that twistd's other servers take.

file:/etc/passwords             lines of user:password
memory:alice:secret             a user and a password, for tests
unix, …                         whatever C{twisted.cred.strcred} has a plugin for
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from twisted.cred.checkers import ANONYMOUS, ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginFailed, UnhandledCredentials
from twisted.cred.strcred import StrcredException, findCheckerFactories, makeChecker
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.access.redaction import withoutSecrets
from wsproxy.access.secretfile import checkRegular
from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = ["CheckedPasswords"]


class CheckedPasswords:
    """
    A L{PasswordCheck<wsproxy.authentication.basic.PasswordCheck>} that asks a credential checker.

    @param text: what it is made of.
    @raise ConfigError: of that none is made, or none for passwords.
    """

    def __init__(self, text: str) -> None:
        kind, _, argument = text.partition(":")
        _checkKind(kind)
        if kind == "file":
            _checkReadable(argument)
        try:
            self._checker: ICredentialsChecker = makeChecker(text)
        except StrcredException as error:
            raise ConfigError(f"--auth {kind}: {withoutSecrets(str(error), argument)}") from None
        except Exception as error:  # a checker's own complaint about its argument
            told = withoutSecrets(f"{type(error).__name__}: {error}", argument)
            raise ConfigError(f"--auth {kind}: {told}") from None
        if not any(each.isOrExtends(IUsernamePassword) for each in self._checker.credentialInterfaces):
            raise ConfigError(f"--auth {kind}: does not check passwords")

        if isinstance(self._checker, InMemoryUsernamePasswordDatabaseDontUse):
            users = self._checker.users  # by str, where all that asks has bytes
            self._checker.users = {name.encode() if isinstance(name, str) else name: users[name] for name in users}

    def check(self, user: str, password: str) -> Deferred[bool]:
        credentials = _Password(user.encode("utf-8", "surrogatepass"), password.encode("utf-8", "surrogatepass"))
        asked: Deferred[Any] = maybeDeferred(self._checker.requestAvatarId, credentials)
        return asked.addCallbacks(lambda avatar: avatar is not ANONYMOUS, _refused)


def _checkKind(kind: str) -> None:
    """Of one that it does not know, Twisted says no more than its name."""
    kinds = sorted(factory.authType for factory in findCheckerFactories())
    if kind not in kinds:
        problem = "no checker is called that;" if kind else "which checker?"
        raise ConfigError(f"--auth {escape(kind, None)}".rstrip() + f": {problem} there are {', '.join(kinds)}")


def _checkReadable(path: str) -> None:
    """Twisted would warn, and refuse everybody."""
    try:
        checkRegular(path)
    except OSError as error:
        raise ConfigError(f"--auth file:{escape(path, None)}: {error.strerror if path else 'which file?'}") from None


def _refused(failure: Failure) -> bool:
    failure.trap(LoginFailed, UnhandledCredentials)
    return False


@implementer(IUsernamePassword)
class _Password:
    """C{UsernamePassword}, compared in constant time."""

    def __init__(self, username: bytes, password: bytes) -> None:
        self.username = username
        self.password = password

    def checkPassword(self, password: bytes | str) -> bool:
        known = password.encode("utf-8") if isinstance(password, str) else password
        return compare_digest(known, self.password)
