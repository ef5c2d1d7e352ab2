"""Tokens that are names in a directory.

C{TokenFileName} reads where the file of that name says, C{UnixDomainSocketDirectory} leads to the socket of that name.

A token is a client's word, and becomes part of a path here. So what it leads to must lie in the directory, as it is
spelled: no C{..}, no absolute path, no symbolic link out of it. What the operator's own path consists of is the
operator's business, links included.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from wsproxy.access.secrets import shown
from wsproxy.errors import ConfigError, Refusal
from wsproxy.escape import escape
from wsproxy.interfaces import Target
from wsproxy.tokens.resolver import unavailable
from wsproxy.tokens.targets import asTarget

__all__ = ["TokenFileName", "UnixDomainSocketDirectory"]

_LONGEST = 4096
"""Bytes in a file that says where one token leads."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EISDIR)
"""How the system says that there is nothing of a name that anybody may have made up."""


def _isName(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part and len(part) <= 255


class TokenFileName:
    """
    The file of that name in a directory holds the target. Names that begin with a dot are none. A symbolic link may
    lead to another file below the directory, as in those that Kubernetes mounts.

    @param source: the path of the directory.
    @raise ConfigError: there is none.
    """

    def __init__(self, source: str) -> None:
        self._directory = _checked(source)

    def lookup(self, token: str) -> Target | None:
        if not _isName(token) or "/" in token or token.startswith("."):
            return None
        try:
            text = self._read(token)
        except UnicodeEncodeError:
            return None
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise unavailable(f"the file of token {shown(token)}: {error.strerror}") from None
        try:
            return asTarget(text, True) if text and text.strip() else None
        except ConfigError as error:
            raise unavailable(f"the file of token {shown(token)} holds no target: {error}") from None

    def stillGood(self, token: str) -> bool:
        """Whether there is such a file."""
        with suppress(Refusal):
            return self.lookup(token) is not None
        return True  # nobody can tell

    def _read(self, token: str) -> str | None:
        directory = os.path.realpath(self._directory)
        path = os.path.realpath(os.path.join(directory, token))
        if os.path.commonpath((directory, path)) != directory:
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return stream.read(_LONGEST).decode("utf-8", "backslashreplace")


class UnixDomainSocketDirectory:
    """
    The socket of that name in a directory, or below it: C{vm1/console.sock}. Symbolic links are none.

    @param source: the path of the directory. It may come later, and go.
    @raise ConfigError: it is something else.
    """

    def __init__(self, source: str) -> None:
        if os.path.exists(source):
            _checked(source)
        self._directory = os.path.abspath(source)

    def lookup(self, token: str) -> Target | None:
        if not all(map(_isName, token.split("/"))):
            return None
        path = os.path.join(os.path.realpath(self._directory), token)
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode) or os.path.realpath(path) != path:
                return None
            return asTarget(f"unix:{path}", True)
        except (OSError, UnicodeEncodeError, ConfigError):  # the last where a path is too long for a socket
            return None

    def stillGood(self, token: str) -> bool:
        """Whether there is such a socket."""
        return self.lookup(token) is not None


def _checked(directory: str) -> str:
    """@return: its absolute path."""
    try:
        os.scandir(directory).close()
    except OSError as error:
        raise ConfigError(f"--token-source {escape(directory, None)}: {error.strerror}") from None
    return os.path.abspath(directory)
