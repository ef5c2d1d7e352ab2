"""One process or several: what twistd runs, out of a L{Config<wsproxy.config.Config>}."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from wsproxy.config import Config
from wsproxy.entrance import answerWorkers
from wsproxy.interfaces import IStatusStop
from wsproxy.process.listeners import Listeners
from wsproxy.process.supervisor import Supervisor, WrapMode
from wsproxy.service.proxy import Proxy
from wsproxy.wiring import assemble, findProgram, makeProxy, wrappedProgram
from wsproxy.workers.parent import Workers

__all__ = ["makeRoot"]


def makeRoot(config: Config, reactor: Any, stopper: IStatusStop, stdout: int | None = None) -> Proxy | Workers:
    """
    What a process of its own runs. See L{makeProxy}.

    @param stdout: where the process logs to its stdout, the descriptor.
    """
    if config.listening.workers == 1:
        return makeProxy(config, reactor, stopper)
    return _makeWorkers(config, reactor, stopper, stdout)


def _makeWorkers(config: Config, reactor: Any, stopper: IStatusStop, stdout: int | None) -> Workers:
    """The parent of several processes, each of which has what L{assemble} makes."""
    if config.program is None:
        assemble(config, reactor, stopper)  # what workers would complain of is told now, before twistd is a daemon
        return _answering(Workers(config, reactor, stopper, stdout=stdout), config, reactor)
    command, rebinding = findProgram(config.program, config.listening, reactor)
    wrapped = wrappedProgram(config.program, command, rebinding)
    listeners = Listeners()
    assemble(config, reactor, stopper, None, wrapped, listeners)
    workers = Workers(config, reactor, stopper, astuple(wrapped), listeners, stdout)
    mode = WrapMode(config.program.mode)
    Supervisor(reactor, command, mode, rebinding, listeners, ended=workers.end).setServiceParent(workers)
    return _answering(workers, config, reactor)


def _answering(workers: Workers, config: Config, reactor: Any) -> Workers:
    for service in answerWorkers(config, reactor, workers):
        service.setServiceParent(workers)
    return workers
