"""A file of keys that may change while we run: its next state serves the next token."""

from __future__ import annotations

import os
from collections.abc import Sequence

from twisted.logger import Logger

from wsproxy.errors import ConfigError
from wsproxy.jose.keys import TokenKey, parseKeys

__all__ = ["KeyFile"]

_LARGEST = 1 << 20
"""Bytes of a file of keys."""


class KeyFile:
    """
    @param option: what names the file, for complaints.
    @raise ConfigError: it cannot be used as it is now. Later on, what it held before stays, with one line in the log:
        also where there is a secret in place of public keys, or the other way round, which takes a restart. Whoever
        gets to write something into the file has not got to say how tokens are verified.
    """

    _log = Logger()

    def __init__(self, option: str, path: str) -> None:
        self._option = option
        self._path = path
        self._state = self._look()
        self._keys = self._load()
        self._symmetric = set(map(_isSymmetric, self._keys))

    def keys(self) -> Sequence[TokenKey]:
        """Those that are in the file. Looks whether that has changed: a system call, 2 µs."""
        state = self._look()
        if state != self._state:
            self._state = state
            try:
                self._keys = self._same(self._load())
            except ConfigError as error:
                self._log.error("{error}; the keys from before stay", error=str(error))
            else:
                self._log.info("{option} {path}: read anew", option=self._option, path=self._path)
        return self._keys

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _same(self, keys: Sequence[TokenKey]) -> Sequence[TokenKey]:
        """@raise ConfigError: there are keys of another kind than at the start."""
        if self._symmetric.issuperset(map(_isSymmetric, keys)):
            return keys
        kind = "public keys" if True in self._symmetric else "a symmetric key"
        raise ConfigError(f"{self._option} {self._path}: {kind} now, of which there was none at the start (restart?)")

    def _load(self) -> Sequence[TokenKey]:
        try:
            if os.path.exists(self._path) and not os.path.isfile(self._path):
                raise ConfigError("not a regular file")  # reading another one might never end
            with open(self._path, "rb") as stream:
                data = stream.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise ConfigError("too large for a file of keys")
            return parseKeys(data)
        except OSError as error:
            raise ConfigError(f"{self._option} {self._path}: {error.strerror}") from None
        except ConfigError as error:
            raise ConfigError(f"{self._option} {self._path}: {error}") from None


def _isSymmetric(key: TokenKey) -> bool:
    return key.key.key_type == "oct"
