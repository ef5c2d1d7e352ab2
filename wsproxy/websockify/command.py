"""The console script C{websockify}, and C{python -m wsproxy.websockify}.

One process, in the foreground unless C{--daemon}; no pidfile. The command line that C{ps} shows is the one that was
given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger

from wsproxy.command.plugin import makeService
from wsproxy.command.running import run, twistdOptions
from wsproxy.command.settings import forgetSecrets
from wsproxy.config import Config
from wsproxy.daemon.exit import complaint
from wsproxy.daemon.log import Log
from wsproxy.daemon.standard import fillStandard
from wsproxy.errors import ConfigError
from wsproxy.websockify.log import makeLogs
from wsproxy.websockify.options import parse
from wsproxy.websockify.translation import Translation, translate

__all__ = ["main", "start"]

OpenLog = Callable[[Any, Any], Log]

WRONG = 2
"""The status for words that are wrong."""

_log = Logger()


@dataclass(slots=True)
class _Told:
    """See L{Told<wsproxy.command.plugin.Told>}."""

    config: Config
    parent: Any
    wrong: int = WRONG


def main(arguments: Sequence[str] | None = None) -> None:
    """
    @param arguments: by default those of the process.
    @raise SystemExit: the end.
    """
    fillStandard()
    words = list(sys.argv[1:] if arguments is None else arguments)
    start(lambda: translate(parse(words)), lambda openLog, options: makeService(options, openLog))


def start(translated: Callable[[], Translation], make: Callable[[OpenLog, Any], IService]) -> None:
    """
    @param make: given where to log to, and the options, makes what is run.
    @raise SystemExit: the end.
    """
    sys.argv[0] = "websockify"
    try:
        told = translated()
    except ConfigError as error:
        print(complaint(error), file=sys.stderr)
        raise SystemExit(WRONG) from None
    forgetSecrets(told.given)
    for warning in told.warnings:
        _log.warn("{warning}", warning=warning)
    server = twistdOptions("--pidfile=", *(("--rundir", "/") if told.daemon else ("-n",)))

    def openLog(twistd: object, reactor: Any) -> Log:
        return makeLogs(told, reactor, sys.__stderr__)

    run(_Told(told.config, server), partial(make, openLog))
