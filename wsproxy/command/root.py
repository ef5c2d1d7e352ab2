"""One process or several: what twistd runs, out of a L{Config<wsproxy.config.Config>}."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

from twisted.python.failure import Failure

from wsproxy.admin.levels import Levels
from wsproxy.config import Config
from wsproxy.daemon.successor import Successor
from wsproxy.entrance import answerWorkers
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IStatusStop
from wsproxy.nodes.neighbours import Neighbours
from wsproxy.process.listeners import Listeners
from wsproxy.process.supervisor import Supervisor, WrapMode
from wsproxy.service.proxy import Proxy
from wsproxy.service.renewal import Reader, Renewal
from wsproxy.wiring import Steer, assemble, findProgram, makeProxy, wrappedProgram
from wsproxy.workers.parent import Workers

__all__ = ["makeRoot"]


def makeRoot(
    config: Config,
    reactor: Any,
    stopper: IStatusStop,
    stdout: int | None = None,
    setLevel: Callable[[str], object] = lambda level: None,
    reader: Reader | None = None,
    steer: Steer | None = None,
    successor: Successor | None = None,
    predecessor: Mapping[str, Any] | None = None,
) -> Proxy | Workers:
    """
    What a process of its own runs. See L{makeProxy}.

    @param stdout: where the process logs to its stdout, the descriptor.
    @param setLevel: has this process log no less than this.
    @param reader: where the settings are read again.
    @param steer: see L{makeProxy}; of a single process.
    @param successor: the code that can take the place of this one.
    @param predecessor: what the code before this one has left.
    """
    levels = Levels(config.logging.level, setLevel)
    if not config.listening.workers:
        if predecessor is not None:
            raise ConfigError("--workers: was there, and has to stay: what is to become of the workers?")
        proxy = makeProxy(config, reactor, stopper, steer)
        proxy.renewal = Renewal(reader, proxy.prepare, proxy.lookAtCertificates)
        return _administered(proxy, config, reactor, levels)
    workers, neighbours = _makeWorkers(config, reactor, stopper, stdout, successor, predecessor)
    workers.renewal = Renewal(reader, workers.prepare, workers.lookAtCertificates)
    if config.admin.wanted:
        from wsproxy.admin.crew import Team  # late: 20 ms, with a web site, for some
        from wsproxy.admin.make import makeAdmin

        team = Team(workers, config.listening.workers)
        parts = {} if predecessor is None else predecessor["parts"]
        if parts.get("admin.level") is not None:
            levels.set(parts["admin.level"])
        left = parts.get("admin.places")
        admin = makeAdmin(config, reactor, team, levels.also(workers), workers.renew, neighbours, _askUpgrade, left)
        admin.setServiceParent(workers)
        workers.started.addErrback(_forgetting(admin.forget))
        workers.keep("admin.level", lambda: levels.chosen, lambda level, askers: None)
        workers.keep("admin.places", admin.state, lambda state, askers: None, admin.descriptors)
        workers.whenRehearsed(admin.rehearse)
        workers.whenPaused(admin.pause, admin.resume)
    return workers


def _askUpgrade() -> None:
    """What C{kill -USR2} does: whoever watches over this process hears of it, too."""
    os.kill(os.getpid(), signal.SIGUSR2)


def _administered(proxy: Proxy, config: Config, reactor: Any, levels: Levels) -> Proxy:
    if config.admin.wanted:
        from wsproxy.admin.crew import Alone  # late: see makeRoot
        from wsproxy.admin.make import makeAdmin, makeDesk

        desk = makeDesk(reactor, proxy)
        admin = makeAdmin(config, reactor, Alone(desk), levels, proxy.renew, proxy.neighbours)
        admin.setServiceParent(proxy)
        proxy.started.addErrback(_forgetting(admin.forget))
    return proxy


def _forgetting(forget: Callable[[], object]) -> Callable[[Failure], Failure]:
    """@return: an errback of a start: what has failed has failed, and the admin side leaves nothing behind."""

    def failed(failure: Failure) -> Failure:
        forget()
        return failure

    return failed


def _makeWorkers(
    config: Config,
    reactor: Any,
    stopper: IStatusStop,
    stdout: int | None,
    successor: Successor | None,
    predecessor: Mapping[str, Any] | None,
) -> tuple[Workers, Neighbours | None]:
    """@return: the parent of several processes, each of which has what L{assemble} makes; and the other nodes."""
    program = config.program
    wrapped, listeners = None, None
    if program is not None:
        command, rebinding = findProgram(program, config.listening, reactor)
        wrapped, listeners = wrappedProgram(program, command, rebinding), Listeners()

    def check(config: Config) -> None:
        """What workers would complain of is told now: at the start, before twistd is a daemon."""
        assemble(config, reactor, stopper, None, wrapped, listeners)

    check(config)
    words = () if wrapped is None else astuple(wrapped)
    workers = Workers(config, reactor, stopper, words, listeners, stdout, successor, predecessor)
    common = answerWorkers(config, reactor, workers)
    workers.renewable(check, common.limit)
    if program is not None and listeners is not None:
        mode = WrapMode(program.mode)
        left = None if predecessor is None else predecessor["parts"].get("program")
        supervisor = Supervisor(reactor, command, mode, rebinding, listeners, ended=workers.end, left=left)
        supervisor.setServiceParent(workers)
        workers.keep("program", supervisor.state, lambda state, askers: None, supervisor.descriptors)
    common.attach(workers)
    return workers, common.neighbours
