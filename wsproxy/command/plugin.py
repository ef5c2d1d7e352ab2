"""Where C{twistd websockify} comes in: options, the proxy they describe, and the process it has to itself.

An embedder starts below this module, at L{wsproxy.factory}: no signals, limits or exit statuses there.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, cast

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from wsproxy.command.lesser import checkUser, lost
from wsproxy.command.managed import Managed
from wsproxy.command.reread import Source
from wsproxy.command.root import makeRoot
from wsproxy.command.usage import Options
from wsproxy.config import Config, LoggingConfig
from wsproxy.daemon.clock import useMonotonic
from wsproxy.daemon.console import piped
from wsproxy.daemon.exit import Exit, complaint
from wsproxy.daemon.garbage import passOverStart
from wsproxy.daemon.handover import COULD_START
from wsproxy.daemon.log import Log, makeLog
from wsproxy.daemon.servicemanager import ServiceManager
from wsproxy.daemon.successor import Successor, commandLine
from wsproxy.daemon.watchdog import Watchdog
from wsproxy.dialling.names import installResolver
from wsproxy.endpoints.inetd import sparingStdout
from wsproxy.errors import ConfigError, WordsError
from wsproxy.escape import escape
from wsproxy.process.command import NoProgram
from wsproxy.service.proxy import Proxy
from wsproxy.workers.parent import Workers
from wsproxy.workers.rehearsal import rehearse

__all__ = ["Options", "ProcessService", "Told", "makeService"]

_logger = Logger()


def _log(twistd: Mapping[str, Any], reactor: Any, config: LoggingConfig) -> Log:
    return makeLog(twistd, reactor, sys.__stdout__, form=config.format, level=config.level)


class Told(Protocol):
    """
    A command line that was understood.

    @ivar parent: twistd's own options.
    @ivar wrong: the exit status for words that make no sense.
    """

    config: Config
    parent: Any
    wrong: int


def _sourceOf(told: Told) -> Source | None:
    """Where its settings can be read again, where that is possible."""
    source: Source | None = getattr(told, "source", None)
    return source


def makeService(
    options: Told,
    openLog: Callable[[Mapping[str, Any], Any], Log] | None = None,
    root: Callable[..., Proxy | Workers] | None = None,
) -> IService:
    """
    @param openLog: given twistd's options and the reactor; by default the log is where and how those say.
    @param root: instead of L{makeRoot}.
    @raise SystemExit: with one line on stderr. Raised later, it would leave the shell that starts a daemon
        waiting for ever.
    """
    from twisted.internet import reactor  # late: twistd --reactor chooses which one

    useMonotonic(reactor)
    told = options if isinstance(options, Options) else None  # others have no parent of workers to be upgraded
    handover = None if told is None else told.handover
    twistd: Mapping[str, Any] = options.parent or {} if told is None or handover is None else told.twistd
    installResolver(reactor)
    passOverStart(cast(Any, reactor))
    source = _sourceOf(options)
    try:
        if options.config.inspection.wanted:
            from wsproxy.command.inspection import inspect  # late: nobody else has use for it

            with piped():
                status = inspect(options.config, reactor, None if source is None else source.layers)
                sys.stdout.flush()
            os._exit(status)  # whatever threads there are
        checkUser(twistd.get("uid"))
        if options.config.listening.inetd:
            sparingStdout()
        successor = _successor(told)
        manager = ServiceManager(os.environ)
        log = openLog(twistd, reactor) if openLog is not None else _log(twistd, reactor, options.config.logging)
        drain, pidfile = options.config.lifetime.drain, _absolute(twistd.get("pidfile"))
        stopper = Exit(
            cast(Any, reactor),
            pidfile,
            drain=drain,
            log=log,
            watchdog=Watchdog(),
            inherited=handover is not None and not handover.rehearsal,
        )
        sys.excepthook = stopper.tellInOneLine
        reader = source if source is not None and source.rereadable else None
        if reader is not None and twistd.get("uid") is not None:
            _warn(lost(reader.layers, reader.config, twistd["uid"], twistd.get("gid")))
        left = None if handover is None else handover.state
        setLevel = log.threshold.set
        more: dict[str, Any] = {} if told is None else {"successor": successor(log, pidfile), "predecessor": left}
        proxy = (root or makeRoot)(options.config, reactor, stopper, log.stdout, setLevel, reader, **more)
        if handover is not None and handover.rehearsal:
            if isinstance(proxy, Workers):
                rehearse(proxy, reactor)
            os._exit(COULD_START)
    except NoProgram as error:
        print(complaint(error), file=sys.stderr)
        raise SystemExit(error.status) from None
    except ConfigError as error:
        print(complaint(error if source is None else source.layers.located(error)), file=sys.stderr)
        raise SystemExit(options.wrong if isinstance(error, WordsError) else 1) from None
    return ProcessService(proxy, stopper, log, Managed(proxy, reactor, manager))


def _warn(lost: list[str]) -> None:
    if lost:
        text = "--config: after --uid, a reload can no longer read or bind, and is refused where it has to: {lost}"
        _logger.warn(text, lost=escape(", ".join(lost), None))


def _absolute(path: str | None) -> str | None:
    """twistd makes it absolute when it has read all of its options, which it has not where they are kept for us."""
    return os.path.abspath(path) if path else None


def _successor(told: Options | None) -> Callable[[Log, str | None], Successor | None]:
    """@return: makes it, of whatever is installed at the time, with the words that this was started with."""
    if told is None:
        return lambda log, pidfile: None
    return partial(Successor, commandLine(), dict(os.environ), os.getcwd(), told.source.secrets)


class ProcessService(MultiService):
    """A proxy that is the purpose of its process."""

    def __init__(self, proxy: Proxy | Workers, stopper: Exit, log: Log, managed: Managed) -> None:
        super().__init__()
        self._proxy = proxy
        self._managed = managed
        self._stopper = stopper
        self._log = log
        self._privileged = False
        proxy.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """@param parent: an application, which logs where this says."""
        super().setServiceParent(parent)
        if self._log.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log.observer)

    def startService(self) -> None:
        """C{twist} leaves out L{privilegedStartService}."""
        if not self._privileged:
            self.privilegedStartService()
        super().startService()
        self._managed.begin()

    def stopService(self) -> Any:
        self._managed.end()
        return super().stopService()

    def privilegedStartService(self) -> None:
        """
        @raise ConfigError: a listener cannot be bound. From here it reaches the shell that started a daemon.
        """
        self._privileged = True
        self._stopper.obeySignals(self._managed)
        raiseDescriptorLimit()
        super().privilegedStartService()
        started = self._proxy.started
        if started.called and isinstance(started.result, Failure):
            failure = started.result
            started.addErrback(lambda _: None)
            failure.raiseException()
        started.addErrback(self._stopper.fail)


def raiseDescriptorLimit() -> None:
    """A session takes two descriptors; the usual soft limit of 1,024 is there for users of select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS reports a hard limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
