"""Several processes behind one set of listening sockets (C{--workers}): this is the parent of them.

::

                     parent: binds, supervises, logs, obeys signals
                       │ control pipe, listening sockets     ▲ reports and log lines
          ┌────────────┴────────────┐                        │
          ▼                         ▼                        │
    worker 1: accepts, relays   worker 2: accepts, relays ───┘

The parent never reads from a client. Workers are executed anew, not forked: L{wsproxy.workers.child} is told everything
on its stdin, in the words of L{wsproxy.workers.messages}. That pipe is their life line as well: at its end they end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    FirstError,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from wsproxy.config import Config, asPlain
from wsproxy.daemon.backoff import HEALTHY, LONGEST_DELAY, Backoff
from wsproxy.endpoints.listen import Listen, parseListen
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IStatusStop
from wsproxy.process.listeners import Listeners
from wsproxy.process.output import LineLog
from wsproxy.service.proxy import LAST_WORDS, abandonPrograms, announce, announceRoom, stopped
from wsproxy.workers.accepting import Share, makeShare
from wsproxy.workers.messages import REPORTS, SHARE, SOCKETS, Messages, encode

__all__ = ["ENDING", "HEALTHY", "KILL_AFTER", "LONGEST_DELAY", "Workers"]

KILL_AFTER = 6.25
"""Seconds that a worker is given to end when all do, after which it is killed. Its sessions take less."""

ENDING = 1.0
"""Seconds that workers are given to tell their clients, before the wrapped program is ended, which closes its side."""


class _Reserved(Factory[Protocol]):
    """What the parent listens with, which no client ever gets to see."""

    noisy = False

    def logPrefix(self) -> str:
        return "Workers"


class Workers(MultiService):
    """Listens, has others serve, and ends in good order: to its process what L{Proxy<wsproxy.service.proxy.Proxy>} is.

    @param wrapped: of a wrapped program what L{assemble<wsproxy.wiring.assemble>} takes, and its listeners.
    @param stdout: where this process logs to its stdout, the descriptor; workers do so as well.
    @ivar started: fires when every listener is bound; fails with L{ConfigError} when one cannot be.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        stopper: IStatusStop,
        wrapped: Sequence[object] = (),
        listeners: Listeners | None = None,
        stdout: int | None = None,
    ) -> None:
        super().__init__()
        self.started: Deferred[None] = Deferred()
        self._config = config
        self._reactor = reactor
        self._stopper = stopper
        self._wrapped = wrapped
        self._listeners = listeners
        self._stdout = stdout
        self._listens = [parseListen(reactor, text) for text in config.listening.listen]
        self._ports: list[tuple[str, Any]] = []
        self._shareDescriptor = makeShare(config.listening.workers)
        self._share = Share(self._shareDescriptor)
        self._workers: list[_Worker | None] = [None] * config.listening.workers
        self._keeping: list[Deferred[None]] = []
        self._ending = False
        self._killing: IDelayedCall | None = None
        self._proven = False  # whether there has been a worker that took connections
        # made now: twistd changes directory, and may be started with relative entries in there
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        if listeners is not None:
            listeners.changed = lambda: self._tell("program", listeners.state())

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind anything."""
        super().privilegedStartService()
        bound = gatherResults([self._listen(listen) for listen in self._listens], consumeErrors=True)
        bound.addCallbacks(self._bound, self._unbound)

    def _listen(self, listen: Listen) -> Deferred[None]:
        def listening(ports: list[IListeningPort]) -> None:
            self._ports += ((str(listen), port) for port in ports)
            if not listen.isPlain:
                raise ConfigError(f"--listen {listen}: no socket for --workers to share; give a port or a unix: path")
            for port in ports:
                self._reactor.removeReader(port)

        return listen.bind(_Reserved()).addCallback(listening)

    def _bound(self, _: object) -> None:
        for _, port in self._ports:
            announce(self._log, self._config, port)
        announceRoom(self._log, self._config.listening.workers)
        self.started.callback(None)

    def _unbound(self, failure: Failure) -> None:
        self._stopListening()
        self.started.errback(cast(FirstError, failure.value).subFailure)

    def startService(self) -> None:
        """Start the workers, which have no more rights than the process has kept."""
        super().startService()
        self.started.addCallback(lambda _: self._startWorkers())

    def _startWorkers(self) -> None:
        for index in range(self._config.listening.workers):
            keeping = Deferred.fromCoroutine(self._keep(index))
            keeping.addErrback(lambda failure: failure.trap(CancelledError))
            keeping.addErrback(lambda failure: self._log.failure("keeping workers", failure))
            self._keeping.append(keeping)

    async def _keep(self, index: int) -> None:
        """Have a worker in this place, until all of them end."""
        backoff = Backoff()
        while not self._ending:
            began = self._reactor.seconds()
            try:
                how = await self._run(index)
            except ConfigError:
                if not self._ending:
                    self._ending = True  # the other workers are not asked
                    self._stopper.fail(Failure())
                return
            if self._ending:
                return
            delay = backoff.delay(self._reactor.seconds() - began >= HEALTHY)
            self._log.error(
                "worker {number} {how}; another starts in {delay:.0f} s", number=index + 1, how=how, delay=delay
            )
            await deferLater(self._reactor, delay)

    async def _run(self, index: int) -> str:
        """
        The life of one worker.

        @return: how it ended.
        @raise ConfigError: there is no use in another one.
        """
        try:
            worker = self._workers[index] = self._start(index)
        except OSError as error:
            reason = f"{error.strerror}"
            if isinstance(error, (PermissionError, FileNotFoundError)):
                program = f"{sys.executable}: {reason[:1].lower()}{reason[1:]}"
                raise ConfigError(f"--workers {self._config.listening.workers}: {program}") from None
            return f"cannot be started ({reason})"
        status = await worker.ended()
        self._workers[index] = None
        self._share.leave(index)
        if worker.complaint is not None:
            if not self._proven:
                raise ConfigError(worker.complaint)
            return f"cannot be started ({worker.complaint})"  # a file that is just being renewed, perhaps
        return f"ended with status {status}"

    def _start(self, index: int) -> _Worker:
        """@raise OSError: there are no processes or descriptors left, or the user must not run Python."""
        worker = _Worker(index + 1, self._received)
        sockets = {SOCKETS + number: port.fileno() for number, (_, port) in enumerate(self._ports)}
        descriptors = {SHARE: self._shareDescriptor, **sockets}
        worker.start(self._reactor, self._environment, descriptors, self._stdout)
        worker.tell("start", asPlain(self._config), [text for text, _ in self._ports], self._wrapped)
        if self._listeners is not None:
            worker.tell("program", self._listeners.state())
        return worker

    def _received(self, verb: str, *words: Any) -> None:
        if verb == "up":
            self._proven = True
        elif self._listeners is not None:
            if verb == "served":
                self._listeners.served = True
            elif verb == "gone":
                generation, port, address = words
                if generation == self._listeners.generation:
                    self._listeners.discard(port, address)

    def _tell(self, verb: str, *words: object) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.tell(verb, *words)

    def _end(self, tell: Callable[[], object]) -> Deferred[None]:
        """
        From now on nobody listens, and no worker is replaced.

        @param tell: what has the workers end.
        @return: fires when the last of them has.
        """
        self._ending = True
        self._stopListening()
        tell()
        for keeping, worker in zip(self._keeping, self._workers, strict=False):
            if worker is None:
                keeping.cancel()
        gone = DeferredList([each.ended() for each in self._workers if each is not None], consumeErrors=True)
        return gone.addCallback(lambda _: None)

    def drain(self) -> Deferred[None]:
        """
        Take no more clients.

        @return: fires when the last worker has ended, or when C{--drain} is over; L{stopService} ends the others.
        """
        if not self._config.lifetime.drain:
            self._end(lambda: None)
            return succeed(None)
        return self._end(lambda: self._tell("drain")).addTimeout(self._config.lifetime.drain, self._reactor)

    def end(self, status: int) -> None:
        """The wrapped program has ended, and so does all of this when clients have taken what it said last."""
        self._killAfter(LAST_WORDS + 1.5)
        self._end(lambda: self._tell("end")).addCallback(lambda _: self._stopper.stop(status))

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._killAfter(KILL_AFTER)
        ended = self._end(self._hangUp)
        # the workers first: a wrapped program that is told to end closes its side of the sessions
        told = DeferredList([each.ending for each in self._workers if each is not None], consumeErrors=True)
        await told.addTimeout(ENDING, self._reactor)
        await gatherResults([ended, maybeDeferred(super().stopService)])
        if self._killing is not None and self._killing.active():
            self._killing.cancel()
        os.close(self._shareDescriptor)

    def _hangUp(self) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.hangUp()

    def _killAfter(self, seconds: float) -> None:
        """Kill the workers that are there then; once. One that is stopped (SIGSTOP) neither reads nor ends."""
        if self._killing is None:
            self._killing = self._reactor.callLater(seconds, self._kill)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker is not None:
                worker.kill()

    def abandon(self, number: int = signal.SIGTERM) -> None:
        """Kill the workers, and signal the wrapped program: the process ends at once."""
        self._kill()
        abandonPrograms(self, number)

    def reload(self) -> None:
        """Look at the certificate files now."""
        self._tell("reload")

    def _stopListening(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        return DeferredList([Deferred.fromCoroutine(stopped(port)) for _, port in ports])


_logger = cache(Logger)
"""By the namespace of whoever said something in a worker."""


class _Worker(ProcessProtocol):
    """
    One process.

    @param received: called with each message that is not about the process alone.
    @ivar complaint: why it cannot start, where the configuration is to blame.
    @ivar ending: fires when its clients have been told to go, or it has ended.
    """

    transport: Any
    _log = Logger()

    def __init__(self, number: int, received: Callable[..., None]) -> None:
        self.complaint: str | None = None
        self.ending: Deferred[None] = Deferred()
        self._number = number
        self._received = received
        self._messages = Messages()
        self._output = {1: LineLog(self._printed), 2: LineLog(self._printed)}
        self._listening = True
        self._status: int | None = None
        self._waiting: list[Deferred[int]] = []

    def start(
        self, reactor: Any, environment: dict[str, str], descriptors: dict[int, int], stdout: int | None
    ) -> None:
        """@raise OSError: it cannot be."""
        # -P: modules are not looked for in the current directory, which is anybody's
        words = [sys.executable, "-P", "-m", "wsproxy.workers.child", str(self._number), type(reactor).__module__]
        words.append("parent" if stdout is None else "stdout")
        childFDs = {0: "w", 1: "r" if stdout is None else stdout, 2: "r", REPORTS: "r", **descriptors}
        reactor.spawnProcess(self, words[0], words, environment, childFDs=childFDs)
        self._log.info("worker {number} started as process {pid}", number=self._number, pid=self.transport.pid)

    def tell(self, verb: str, *words: object) -> None:
        if self._listening:
            self.transport.writeToChild(0, encode(verb, *words))

    def hangUp(self) -> None:
        """It is to end."""
        self._listening = False
        self.transport.closeChildFD(0)

    def kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)

    def ended(self) -> Deferred[int]:
        """@return: fires with its exit status, 128 + the number for a signal."""
        deferred: Deferred[int] = Deferred()
        if self._status is None:
            self._waiting.append(deferred)
        else:
            deferred.callback(self._status)
        return deferred

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD in self._output:
            self._output[childFD].feed(data)
            return
        for verb, *words in self._messages.feed(data):
            try:
                self._heard(verb, *words)
            except Exception:  # raised to the reactor, it would be the last thing heard of this worker
                self._log.failure("worker {number} said {verb}", number=self._number, verb=verb)

    def _heard(self, verb: str, *words: Any) -> None:
        if verb == "log":
            self._logged(*words)
        elif verb == "up":
            self._log.info("worker {number} is up", number=self._number)
            self._received(verb)
        elif verb == "ending":
            self._isEnding()
        elif verb == "unable":
            [self.complaint] = words
        else:
            self._received(verb, *words)

    def _isEnding(self) -> None:
        if not self.ending.called:
            self.ending.callback(None)

    def _logged(self, namespace: str, level: str, text: str) -> None:
        emit, severity = _logger(namespace).emit, LogLevel.lookupByName(level)
        for line in text.splitlines():
            emit(severity, "worker {number}: {line}", number=self._number, line=line)

    def _printed(self, line: str) -> None:
        self._log.warn("worker {number}: {line}", number=self._number, line=line)

    def childConnectionLost(self, childFD: int) -> None:
        if childFD in self._output:
            self._output[childFD].end()
        elif childFD == 0:
            self._listening = False

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self._status = value.exitCode if value.signal is None else 128 + value.signal
        self._isEnding()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self._status)
