"""A proxy in a process of its own, behind another command than twistd: run by twistd all the same.

What twistd does for a process (uid, syslog, daemon, pidfile) is decided by its own options, and is not written anew.
Its plugins are not looked for, which saves half of the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from wsproxy.command.plugin import Told, makeService
from wsproxy.errors import ConfigError

__all__ = ["run", "twistdOptions"]

_NAME = "websockify"


@dataclass(frozen=True, slots=True)
class _Maker:
    """What twistd asks for its one service."""

    makeService: Callable[[Told], IService]
    tapname: str = _NAME


def twistdOptions(*words: str) -> Any:
    """
    @param words: of twistd, without a plugin's.
    @return: its options.
    @raise ConfigError: they are wrong.
    """
    from twisted.scripts import twistd  # late: help and complaints do without

    options: Any = twistd.ServerOptions()  # type: ignore[attr-defined]  # imported there, for this
    try:
        options.parseOptions(["--no_save", *words])
    except usage.UsageError as error:
        raise ConfigError(str(error)) from None
    except KeyError as error:  # of pwd and grp
        raise ConfigError(f"--uid, --gid: {error.args[0]}") from None
    return options


def run(told: Told, make: Callable[[Told], IService] = makeService) -> None:
    """
    Run what was told, until it ends.

    @param told: its C{parent} is what L{twistdOptions} has returned.
    @raise SystemExit: it cannot start, with one line.
    """
    from twisted.scripts.twistd import runApp

    server = told.parent
    server.subCommand = _NAME
    server.subOptions = told
    server.loadedPlugins = {_NAME: _Maker(make)}
    runApp(server)
