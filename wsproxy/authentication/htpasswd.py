"""HtpasswdAuth: a file of users and hashes of their passwords, as Apache's htpasswd makes it.

    alice:$2y$12$…                       bcrypt: htpasswd -B
    bob:$argon2id$v=19$m=65536,t=3,p=4$… Argon2: argon2-cffi, and others

Hashes that a stolen file would be guessed from within hours (MD5, SHA-1, crypt, none at all) are refused. The file is
read anew when it changes: renamed over, or rewritten.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from twisted.logger import Logger

from wsproxy.access.secretfile import checkRegular, openNow
from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = ["Entry", "HtpasswdFile"]

_OPTION = "--auth-plugin HtpasswdAuth"

_LINE = re.compile(r"(?P<user>[^:]+):(?P<hash>[^:\s]+)(?::.*)?")
_BCRYPT = re.compile(r"\$2[aby]\$(?P<rounds>\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(r"\$argon2(?:id|i|d)\$(?:v=\d+\$)?m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")

_BCRYPT_BYTES = 72
"""What bcrypt takes of a password; the rest never counted, and newer versions of the library refuse it."""

_OTHERS = {
    "$apr1$": "MD5 (apr1)",
    "$1$": "MD5 (crypt)",
    "{SHA}": "SHA-1",
    "{SSHA}": "SHA-1",
    "$5$": "SHA-256 (crypt)",
    "$6$": "SHA-512 (crypt)",
    "$y$": "yescrypt",
}

Verify = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One user.

    @ivar hash: of the password.
    @ivar verify: whether a password has this hash. Takes its time, from 10 ms to a second.
    """

    hash: str
    verify: Verify


class HtpasswdFile:
    """
    @raise ConfigError: the file cannot be read, a line is none or has a hash that is refused, or what its hashes take
        is not installed; in one line, with the line's number.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = self._look()
        self._entries, wrong = self._read()
        if wrong:
            raise ConfigError(wrong[0])

    def entries(self) -> dict[str, Entry]:
        """@return: the users as of now. Costs a look at the file, 2 µs."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._renew()
        return self._entries

    def _look(self) -> object:
        try:
            status = os.stat(self._path)
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _renew(self) -> None:
        """Of a bad line nobody gets in; a file that cannot be read leaves those who were in it."""
        try:
            self._entries, wrong = self._read()
        except ConfigError as error:
            self._log.error("{problem}; as it was, it stays in use", problem=str(error))
            return
        for problem in wrong[:_TOLD]:
            self._log.error("{problem}; this user is left out", problem=problem)

    def _read(self) -> tuple[dict[str, Entry], list[str]]:
        try:
            checkRegular(self._path)
            with open(self._path, encoding="utf-8", opener=openNow) as stream:
                lines = stream.read().splitlines()
        except OSError as error:
            raise ConfigError(f"{_OPTION}: {escape(self._path, None)}: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"{_OPTION}: {escape(self._path, None)}: not a text file") from None
        entries: dict[str, Entry] = {}
        wrong = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                user, entry = _parse(line)
            except ConfigError as error:
                wrong.append(f"{_OPTION}: {escape(self._path, None)}, line {number}: {error}")
            else:
                entries.setdefault(user, entry)  # the first counts, as for Apache
        return entries, wrong


_TOLD = 10
"""Lines of the log about one reading."""


def _parse(line: str) -> tuple[str, Entry]:
    match = _LINE.fullmatch(line.rstrip())
    if match is None:
        raise ConfigError("expected user:hash")
    hashed = match["hash"]
    if _BCRYPT.fullmatch(hashed):
        return match["user"], Entry(hashed, _bcrypt(hashed))
    if _ARGON2.fullmatch(hashed):
        return match["user"], Entry(hashed, _argon2(hashed))
    found = [name for prefix, name in _OTHERS.items() if hashed.startswith(prefix)]
    if found:
        raise ConfigError(f"{found[0]} is refused; make it anew with htpasswd -B")
    raise ConfigError("not a hash of bcrypt or Argon2, and no other is taken; make it anew with htpasswd -B")


def _needed(name: str, package: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"needs {package}: pip install 'wsproxy[passwords]'") from None


def _bcrypt(hashed: str) -> Verify:
    bcrypt = _needed("bcrypt", "bcrypt")
    known = hashed.encode("ascii")
    return lambda password: bool(bcrypt.checkpw(password[:_BCRYPT_BYTES], known))


def _argon2(hashed: str) -> Verify:
    hasher = _needed("argon2", "argon2-cffi").PasswordHasher()
    mismatch = import_module("argon2.exceptions").VerificationError

    def verify(password: bytes) -> bool:
        try:
            return bool(hasher.verify(hashed, password))
        except mismatch:
            return False

    return verify
