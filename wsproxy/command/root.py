"""One process or several: what twistd runs, out of a L{Config<wsproxy.config.Config>}."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from wsproxy.admin.crew import Alone, Team
from wsproxy.admin.levels import Levels
from wsproxy.admin.make import makeAdmin, makeDesk
from wsproxy.config import Config
from wsproxy.entrance import answerWorkers
from wsproxy.interfaces import IStatusStop
from wsproxy.process.listeners import Listeners
from wsproxy.process.supervisor import Supervisor, WrapMode
from wsproxy.service.proxy import Proxy
from wsproxy.wiring import assemble, findProgram, makeProxy, wrappedProgram
from wsproxy.workers.parent import Workers

__all__ = ["makeRoot"]


def makeRoot(
    config: Config,
    reactor: Any,
    stopper: IStatusStop,
    stdout: int | None = None,
    setLevel: Callable[[str], object] = lambda level: None,
) -> Proxy | Workers:
    """
    What a process of its own runs. See L{makeProxy}.

    @param stdout: where the process logs to its stdout, the descriptor.
    @param setLevel: has this process log no less than this.
    """
    levels = Levels(config.logging.level, setLevel)
    if config.listening.workers == 1:
        return _administered(makeProxy(config, reactor, stopper), config, reactor, levels)
    return _makeWorkers(config, reactor, stopper, stdout, levels)


def _administered(proxy: Proxy, config: Config, reactor: Any, levels: Levels) -> Proxy:
    if config.admin.wanted:
        desk = makeDesk(config, reactor, proxy.factory, lambda: proxy.listening, proxy.reload)
        makeAdmin(config, reactor, Alone(desk), levels).setServiceParent(proxy)
    return proxy


def _makeWorkers(
    config: Config, reactor: Any, stopper: IStatusStop, stdout: int | None, levels: Levels
) -> Workers:
    """The parent of several processes, each of which has what L{assemble} makes."""
    if config.program is None:
        assemble(config, reactor, stopper)  # what workers would complain of is told now, before twistd is a daemon
        return _answering(Workers(config, reactor, stopper, stdout=stdout), config, reactor, levels)
    command, rebinding = findProgram(config.program, config.listening, reactor)
    wrapped = wrappedProgram(config.program, command, rebinding)
    listeners = Listeners()
    assemble(config, reactor, stopper, None, wrapped, listeners)
    workers = Workers(config, reactor, stopper, astuple(wrapped), listeners, stdout)
    mode = WrapMode(config.program.mode)
    Supervisor(reactor, command, mode, rebinding, listeners, ended=workers.end).setServiceParent(workers)
    return _answering(workers, config, reactor, levels)


def _answering(workers: Workers, config: Config, reactor: Any, levels: Levels) -> Workers:
    for service in answerWorkers(config, reactor, workers):
        service.setServiceParent(workers)
    if config.admin.wanted:
        team = Team(workers, config.listening.workers)
        makeAdmin(config, reactor, team, levels.also(workers)).setServiceParent(workers)
    return workers
