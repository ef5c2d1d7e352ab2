"""What a process cannot do again once it has become a lesser user (C{twistd --uid}): read some files, bind some ports.

A reload that needs one of them is refused then, and names it. Who starts it is warned.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from wsproxy.command.given import Given
from wsproxy.command.options import TABLE
from wsproxy.command.settings import Layers
from wsproxy.config import Config
from wsproxy.errors import ConfigError

__all__ = ["checkUser", "lost"]

_FIRST_FREE = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def checkUser(uid: int | None) -> None:
    """
    @raise ConfigError: nobody has this number. Twisted asks passwd for the groups of whom a process is to be, and does
        without for nobody.
    """
    try:
        if uid is not None:
            pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        how = "start it as that user: docker run --user, User= of a unit, setpriv --reuid"
        raise ConfigError(f"--uid {uid}: no user has this number, in passwd; {how}") from None


def lost(layers: Layers, config: Config, uid: int, gid: int | None) -> list[str]:
    """@return: files and C{--listen} values that this user will not be able to read, and to bind, again."""
    groups = _groups(uid, gid)
    files = dict.fromkeys(path for given in layers.all() for path in _files(given))
    found = [path for path in files if not _mayRead(path, uid, groups)]
    return [*found, *(f"--listen {text}" for text in config.listening.listen if uid and _isPrivileged(text))]


def _groups(uid: int, gid: int | None) -> Sequence[int]:
    with suppress(KeyError):
        user = pwd.getpwuid(uid)
        return os.getgrouplist(user.pw_name, user.pw_gid if gid is None else gid)
    return () if gid is None else (gid,)


def _files(given: Given) -> Iterator[str]:
    """Those that are read when the settings are."""
    for option in TABLE:
        word: Any = given.get(option.name)
        origin = given.origins.get(option.name)
        if not isinstance(word, str):
            continue
        path = word[1:] if word.startswith("@") and (option.kind.secret or option.name == "target") else word
        if path is not word or option.kind.placeholder in ("FILE", "DIR"):
            place = os.getcwd() if origin is None else os.path.dirname(origin.file)
            if option.path[0] != "recording":  # files are made there, not read
                yield os.path.join(place, path)


def _mayRead(path: str, uid: int, groups: Sequence[int]) -> bool:
    """As far as modes tell; of access control lists and capabilities they do not."""
    if uid == 0:
        return True
    with suppress(OSError):
        folders = [parent.stat() for parent in Path(os.path.abspath(path)).parents]
        status = os.stat(path)
        return all(_allows(each, 1, uid, groups) for each in folders) and _allows(status, 4, uid, groups)
    return True  # it is not there, which others tell


def _allows(status: os.stat_result, bit: int, uid: int, groups: Sequence[int]) -> bool:
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    return bool(status.st_mode >> shift & bit)


def _isPrivileged(text: str) -> bool:
    try:
        port = int(text.rpartition(":")[2])
        return 0 < port < int(Path(_FIRST_FREE).read_text())
    except (OSError, ValueError):
        return False
