"""Several processes behind one set of listening sockets (C{--workers}): this is the parent of them.

::

                     parent: binds, supervises, logs, obeys signals
                       ▲ channels: settings, listening sockets; questions and answers; log lines
          ┌────────────┴────────────┐
          ▼                         ▼
    worker 1: accepts, relays   worker 2: accepts, relays

The parent never reads from a client. Workers are executed anew, not forked: L{wsproxy.workers.child} is told everything
over a L{Channel<wsproxy.workers.channel.Channel>} of its own. That is its life line as well: at its end it ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, cast

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
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.cluster.parent import Asker
from wsproxy.config import Config, asPlain
from wsproxy.daemon.backoff import HEALTHY, LONGEST_DELAY, Backoff
from wsproxy.daemon.successor import Successor
from wsproxy.endpoints.listen import Listen, parseListen
from wsproxy.errors import ConfigError
from wsproxy.fault import logFault
from wsproxy.interfaces import IStatusStop
from wsproxy.process.listeners import Listeners
from wsproxy.service.ports import stopped
from wsproxy.service.proxy import LAST_WORDS, abandonPrograms, announce, announceRoom
from wsproxy.service.renewal import Renewal, distinct, ofListener
from wsproxy.workers.accepting import Share, makeShare
from wsproxy.workers.held import HeldPort, hold
from wsproxy.workers.upgrade import Upgrade
from wsproxy.workers.worker import Worker

__all__ = ["ENDING", "HEALTHY", "KILL_AFTER", "LONGEST_DELAY", "UP_WITHIN", "Workers"]

KILL_AFTER = 6.25
"""Seconds that a worker is given to end when all do, after which it is killed. Its sessions take less."""

REHEARSED_WITHIN = 30.0
"""Seconds that a worker has to come up where that is only tried."""

UP_WITHIN = 60.0
"""Seconds that a worker has to come up, after which it is killed, and another one starts."""

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
    @param successor: the code that can take the place of this one.
    @param predecessor: what the code before this one has left, L{state}; L{None}: there was none.
    @ivar started: fires when every listener is bound; fails with L{ConfigError} when one cannot be.
    @ivar serving: fires when the first of them takes connections.
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
        successor: Successor | None = None,
        predecessor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.started: Deferred[None] = Deferred()
        self.serving: Deferred[None] = Deferred()
        self._config = config
        self._reactor = reactor
        self._stopper = stopper
        self._wrapped = wrapped
        self._listeners = listeners
        self._stdout = stdout
        self._listens = [self._parse(*each) for each in distinct(config.listening.listen).items()]
        self.renewal = Renewal(None, self.prepare, self.lookAtCertificates)
        self._check: Callable[[Config], None] = lambda config: None
        self._limit: Callable[[Config], None] = lambda config: None
        self._predecessor = predecessor
        self._upgrade = None if successor is None else Upgrade(reactor, successor, self)
        self._parts: dict[str, tuple[Callable[[], Any], Callable[[Any, Mapping[int, Asker]], object]]] = {}
        self._partsDescriptors: dict[str, Callable[[Any], list[int]]] = {}
        self._pausing: list[tuple[Callable[[], Deferred[Any]], Callable[[], object]]] = []
        self._paused = False
        self._resumed: list[Deferred[None]] = []
        self._rehearsing: list[Callable[[], Awaitable[object]]] = []
        self._old: list[Worker] = []
        self._before = 0  # numbers that older workers have
        self._ports: list[tuple[str, Any]] = []
        self._shareDescriptor = makeShare(config.listening.workers)
        self._share = Share(self._shareDescriptor)
        self._workers: list[Worker | None] = [None] * config.listening.workers
        self._keeping: list[Deferred[None]] = []
        self._ending = False
        self._killing: IDelayedCall | None = None
        self._verbs: dict[str, Callable[..., object]] = {}
        self._answers: dict[str, Callable[..., object]] = {}
        self._started: list[Callable[[Asker], object]] = []
        self._gone: list[Callable[[Asker], object]] = []
        self._proven = False  # whether there has been a worker that took connections
        # made now: twistd changes directory, and may be started with relative entries in there
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        if listeners is not None:
            listeners.changed = lambda: self._tell("program", state=listeners.state())
            self._verbs = {"served": listeners.reached, "gone": listeners.left}

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind anything."""
        super().privilegedStartService()
        held = [] if self._predecessor is None else hold(self._predecessor["ports"])
        bound = gatherResults([self._listen(listen, held) for listen in self._listens], consumeErrors=True)
        for _, port in held:
            port.stopListening()
        bound.addCallbacks(self._bound, self._unbound)

    def _parse(self, name: str, text: str) -> Listen:
        return replace(parseListen(self._reactor, text), text=name)

    def _listen(self, listen: Listen, held: list[tuple[str, HeldPort]] | None = None) -> Deferred[None]:
        """@param held: sockets that are there already; those that are taken are taken out."""
        mine = [each for each in held or () if each[0] == listen.text]
        if held is not None and mine:
            for _, port in mine:
                port.path = listen.path
            self._ports += mine
            held[:] = [each for each in held if each[0] != listen.text]
            return succeed(None)

        def listening(ports: list[IListeningPort]) -> None:
            self._ports += ((str(listen), port) for port in ports)
            if not listen.isPlain:
                raise ConfigError(f"--listen {listen}: no socket for --workers to share; give a port or a unix: path")
            for port in ports:
                self._reactor.removeReader(port)

        return listen.bind(_Reserved()).addCallback(listening)

    def _bound(self, _: object) -> None:
        for name, port in self._ports:
            announce(self._log, ofListener(self._config, name), port)
        announceRoom(self._log, self._config.listening.workers)
        self.started.callback(None)

    def _unbound(self, failure: Failure) -> None:
        if self._predecessor is None:  # else others go on with the same sockets, and their files
            self._stopListening()
        self.started.errback(cast(FirstError, failure.value).subFailure)

    def startService(self) -> None:
        """
        Start the workers, which have no more rights than the process has kept. Whatever is raised of what there is to
        be taken over ends the start, and leaves it to the next one.
        """
        super().startService()
        if self._predecessor is not None:
            self._adopt(self._predecessor)
            self._predecessor = None
        self.started.addCallback(lambda _: self._startWorkers())

    def _adopt(self, left: Mapping[str, Any]) -> None:
        """Keep the workers that are there, and what all of them have in common."""
        for state in left["workers"]:
            with suppress(ProcessLookupError):
                self._old.append(self._adopted(state))
        askers: dict[int, Asker] = {worker.pid: worker for worker in self._old}
        for name, (_, take) in self._parts.items():
            if name in left["parts"]:
                take(left["parts"][name], askers)
        count, taken = len(self._workers), {worker.number for worker in self._old}
        while taken & set(range(self._before + 1, self._before + count + 1)):
            self._before += count
        for worker in self._old:
            self._call(self._started, worker)
            worker.listen()
        self._prove()  # whatever becomes of new ones, these serve
        self._log.info("This is the new version; old workers: {count}", count=len(self._old))

    def _adopted(self, state: Mapping[str, Any]) -> Worker:
        worker = Worker.adopted(self._reactor, state, self._verbs, self._answers)
        worker.ended().addCallback(lambda status: self._oldEnded(worker, status))
        if worker.retireBy is not None:
            self._endBy(worker)
        return worker

    def _oldEnded(self, worker: Worker, status: int) -> None:
        self._old.remove(worker)
        self._call(self._gone, worker)
        how = "" if not status else f" with status {status}"
        self._log.info("worker {number}, of the version before, has ended{how}", number=worker.number, how=how)

    def _endBy(self, worker: Worker) -> None:
        """End it at its time, whoever is there still."""
        assert worker.retireBy is not None
        hangUp = self._reactor.callLater(max(0.0, worker.retireBy - self._reactor.seconds()), worker.hangUp)
        kill = self._reactor.callLater(max(0.0, worker.retireBy - self._reactor.seconds()) + KILL_AFTER, worker.kill)

        def cancel(_: object) -> None:
            for call in (hangUp, kill):
                if call.active():
                    call.cancel()

        worker.ended().addCallback(cancel)

    def _retire(self) -> None:
        """The new workers have come up, all of them: they are those who serve from now on."""
        if not all(worker is not None and worker.up for worker in self._workers):
            return
        limit = self._config.lifetime.upgradeLimit
        for worker in self._old:
            if not worker.isRetired:
                worker.retire()
                if limit:
                    worker.retireBy = self._reactor.seconds() + limit
                    self._endBy(worker)

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
            await self._untilResumed()
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
            if how is None:
                continue
            delay = backoff.delay(self._reactor.seconds() - began >= HEALTHY)
            self._log.error(
                "worker {number} {how}; another starts in {delay:.0f} s",
                number=self._number(index),
                how=how,
                delay=delay,
            )
            await deferLater(self._reactor, delay)

    def _untilResumed(self) -> Deferred[None]:
        """@return: fires as soon as a worker that starts would not be one too many."""
        if not self._paused:
            return succeed(None)
        resumed: Deferred[None] = Deferred()
        self._resumed.append(resumed)
        return resumed

    async def _run(self, index: int) -> str | None:
        """
        The life of one worker.

        @return: how it ended; L{None}: as it was to, see L{pause}.
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
        self._call(self._gone, worker)
        if worker.isDismissed:
            return None
        if worker.complaint is not None:
            if not self._proven:
                raise ConfigError(worker.complaint)
            return f"cannot be started ({worker.complaint})"  # a file that is just being renewed, perhaps
        return f"ended with status {status}"

    def _start(self, index: int) -> Worker:
        """@raise OSError: there are no processes or descriptors left, or the user must not run Python."""
        worker = Worker(self._number(index), self._verbs, self._answers, self._isUp)
        worker.start(self._reactor, self._environment, self._stdout)
        self._endHanging(worker)
        try:
            self._instruct(worker)
        except OSError:
            worker.kill()
            raise
        return worker

    def _endHanging(self, worker: Worker) -> None:
        """Kill it where it neither comes up nor ends; another one may be luckier, or of another version."""

        def late() -> None:
            if not worker.up:
                text = "worker {number} has not come up for {time:.0f} s"
                self._log.error(text, number=worker.number, time=UP_WITHIN)
                worker.kill()

        hanging = self._reactor.callLater(UP_WITHIN, late)
        worker.ended().addCallback(lambda _: hanging.cancel() if hanging.active() else None)

    def _instruct(self, worker: Worker) -> None:
        worker.tell(
            "start",
            descriptors=[self._shareDescriptor, *(port.fileno() for _, port in self._ports)],
            config=asPlain(self._config),
            listens=[text for text, _ in self._ports],
            wrapped=self._wrapped,
        )
        if self._listeners is not None:
            worker.tell("program", state=self._listeners.state())
        self._call(self._started, worker)

    def _call(self, functions: list[Callable[[Asker], object]], worker: Worker) -> None:
        for function in functions:
            try:
                function(worker)
            except Exception:
                logFault(self._log, "telling of worker {number}", number=worker.number)

    def answer(self, verb: str, function: Callable[..., object]) -> None:
        """See L{Answers<wsproxy.cluster.parent.Answers>}, as with the others. Before this is started."""
        self._answers[verb] = function

    def whenStarted(self, function: Callable[[Asker], object]) -> None:
        self._started.append(function)

    def whenGone(self, function: Callable[[Asker], object]) -> None:
        self._gone.append(function)

    def tellAll(self, verb: str, /, **fields: Any) -> None:
        self._tell(verb, **fields)

    def askAll(self, verb: str, /, *, within: float, **fields: Any) -> dict[int, Deferred[Any] | None]:
        up = {worker.number: worker for worker in self._all if worker.up}
        numbers = sorted({*map(self._number, range(len(self._workers))), *up})
        return {
            number: up[number].ask(verb, within=within, **fields) if number in up else None for number in numbers
        }

    def _number(self, index: int) -> int:
        """@return: which worker is the one in this place, to people."""
        return self._before + index + 1

    def keep(
        self,
        name: str,
        state: Callable[[], Any],
        take: Callable[[Any, Mapping[int, Asker]], object],
        descriptors: Callable[[Any], list[int]] | None = None,
    ) -> None:
        """@param descriptors: returns those that such a state speaks of."""
        self._parts[name] = (state, take)
        if descriptors is not None:
            self._partsDescriptors[name] = descriptors

    def _prove(self) -> None:
        if not self._proven:
            self._proven = True
            self.serving.callback(None)

    def _isUp(self) -> None:
        self._prove()
        if self._old:
            self._retire()

    @property
    def _all(self) -> list[Worker]:
        return [*self._old, *(worker for worker in self._workers if worker is not None)]

    def _tell(self, verb: str, **fields: Any) -> None:
        for worker in self._all:
            worker.tell(verb, **fields)

    def _drain(self) -> None:
        for worker in self._all:
            worker.drain()

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
        gone = DeferredList([each.ended() for each in self._all], consumeErrors=True)
        return gone.addCallback(lambda _: None)

    def drain(self) -> Deferred[None]:
        """
        Take no more clients.

        @return: fires when the last worker has ended, or when C{--drain} is over; L{stopService} ends the others.
        """
        if not self._config.lifetime.drain:
            self._end(lambda: None)
            return succeed(None)
        return self._end(self._drain).addTimeout(self._config.lifetime.drain, self._reactor)

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
        told = DeferredList([each.ending for each in self._all], consumeErrors=True)
        await told.addTimeout(ENDING, self._reactor)
        await gatherResults([ended, maybeDeferred(super().stopService)])
        if self._killing is not None and self._killing.active():
            self._killing.cancel()
        os.close(self._shareDescriptor)

    def _hangUp(self) -> None:
        for worker in self._all:
            worker.hangUp()

    def _killAfter(self, seconds: float) -> None:
        """Kill the workers that are there then; once. One that is stopped (SIGSTOP) neither reads nor ends."""
        if self._killing is None:
            self._killing = self._reactor.callLater(seconds, self._kill)

    def _kill(self) -> None:
        for worker in self._all:
            worker.kill()

    def abandon(self, number: int = signal.SIGTERM) -> None:
        """Kill the workers, and signal the wrapped program: the process ends at once."""
        self._kill()
        abandonPrograms(self, number)

    def isWell(self, within: float) -> Deferred[bool]:
        """
        @return: fires with whether there are workers and all of them have answered, in so many seconds; each has done
            then what it was told before. Those that are to end are cared for elsewhere.
        """
        present = [worker for worker in self._workers if worker is not None]
        if self._ending:
            return succeed(True)
        return gatherResults([worker.answers(within) for worker in present]).addCallback(
            lambda answered: bool(answered) and all(answered)
        )

    def renewable(self, check: Callable[[Config], None], limit: Callable[[Config], None]) -> None:
        """
        Have settings that may change.

        @param check: raises L{ConfigError} where others could not be, as far as this process can tell.
        @param limit: sets the limits that are counted here.
        """
        self._check, self._limit = check, limit

    def renew(self) -> Deferred[str]:
        """Read the settings again: see L{Renewal}."""
        return self.renewal()

    def reload(self) -> Deferred[Any]:
        """L{renew}, for whoever does not ask how it went. @return: fires when it is over."""
        return self.renewal().addErrback(lambda failure: failure.trap(ConfigError))

    def lookAtCertificates(self) -> None:
        """Look at the certificate files now."""
        self._tell("reload")

    def prepare(self, config: Config) -> Deferred[Callable[[], None]]:
        """See L{Renewal}. Each worker that there is makes what it needs; one that is just started gets it later."""
        return Deferred.fromCoroutine(self._prepare(config))

    async def _prepare(self, config: Config) -> Callable[[], None]:
        self._check(config)
        before, now = distinct(self._config.listening.listen), distinct(config.listening.listen)
        listens = [self._parse(name, text) for name, text in now.items() if name not in before]
        names, plain = {str(listen) for listen in listens}, asPlain(config)
        try:
            await self._listenAlso(listens)
            await gatherResults([worker.check(plain) for worker in self._there()], consumeErrors=True)
            if self._ending:
                raise ConfigError("it is ending")
        except (ConfigError, FirstError) as error:
            self._stopAt(names)
            self._tell("forget")
            if isinstance(error, FirstError):
                error.subFailure.raiseException()
            raise

        def apply() -> None:
            self._config = config
            self._limit(config)
            added = [(name, port) for name, port in self._ports if name in names]
            removed = before.keys() - now.keys()
            for worker in self._there():
                self._renewIn(worker, plain, added, removed)
            self._stopAt(removed)
            for name, port in added:
                announce(self._log, ofListener(config, name), port)

        return apply

    async def _listenAlso(self, listens: Sequence[Listen]) -> None:
        """@raise ConfigError: it is not possible at one of them."""
        bound = await DeferredList([self._listen(listen) for listen in listens], consumeErrors=True)
        for well, failure in bound:
            if not well:
                cast(Any, failure).raiseException()

    def _renewIn(
        self, worker: Worker, plain: dict[str, Any], added: Sequence[tuple[str, Any]], removed: Collection[str]
    ) -> None:
        try:
            worker.tell(
                "become",
                descriptors=[port.fileno() for _, port in added],
                config=plain,
                listens=[name for name, _ in added],
                removed=[*removed],
            )
        except OSError:  # no descriptors are left
            logFault(self._log, "telling worker {number} of its settings", number=worker.number)
            worker.kill()  # another one is started with them

    def _there(self) -> list[Worker]:
        return [worker for worker in self._workers if worker is not None]

    def upgrade(self) -> Deferred[None]:
        """
        Execute the code that is there now in place of this one. Sessions notice nothing of it.

        @return: fires where this one goes on all the same.
        """
        if self._upgrade is None:
            self._log.error("There is no upgrade of this process: nobody knows how it was started")
        elif not self._ending:
            return self._upgrade.start()
        return succeed(None)

    def whenPaused(self, pause: Callable[[], Deferred[Any]], resume: Callable[[], object]) -> None:
        """
        Have others pause, before the workers, of whom they may want something still.

        @param pause: returns what fires when they have.
        """
        self._pausing.append((pause, resume))

    def whenRehearsed(self, function: Callable[[], Awaitable[object]]) -> None:
        """
        Have others try what might fail, when L{rehearse} does.

        @param function: raises L{ConfigError} where they could not take over.
        """
        self._rehearsing.append(function)

    async def pause(self) -> None:
        """
        Leave all of this as it stands: workers are not heard, and all that they have asked is answered. Those that
        have not come up yet end, and none starts. A change of settings that is under way is waited for.
        """
        await self.renewal.settled()
        await gatherResults([pause() for pause, _ in self._pausing])
        self._paused = True
        ended = []
        for worker in self._all:
            if not worker.up or not worker.isThere:
                worker.dismiss()
                ended.append(worker.ended())
        await gatherResults(ended)
        await gatherResults([worker.pause() for worker in self._all])

    def resume(self) -> None:
        """Go on after L{pause}."""
        for worker in self._all:
            worker.resume()
        self._paused = False
        waiting, self._resumed = self._resumed, []
        for resumed in waiting:
            resumed.callback(None)
        for _, resume in self._pausing:
            resume()

    def state(self) -> dict[str, Any]:
        """@return: what the next code needs, as JSON can say it; complete while paused."""
        return {
            "ports": [[text, port.fileno()] for text, port in self._ports],
            "workers": [worker.state() for worker in self._all if worker.up and worker.isThere],
            "parts": {name: state() for name, (state, _) in self._parts.items()},
        }

    def descriptors(self, state: Mapping[str, Any]) -> list[int]:
        """@return: those that a L{state} speaks of."""
        found = [descriptor for _, descriptor in state["ports"]]
        for worker in state["workers"]:
            found += Worker.descriptors(worker)
        for name, function in self._partsDescriptors.items():
            found += function(state["parts"][name])
        return found

    @property
    def isEnding(self) -> bool:
        return self._ending

    async def rehearse(self) -> None:
        """
        Try, beside the predecessor that serves, what might fail when this takes its place: to listen where that does
        not, and to have a worker come up, which listens nowhere.

        @raise ConfigError: it cannot be.
        """
        known = set() if self._predecessor is None else {name for name, _ in self._predecessor["ports"]}
        try:
            await self._listenAlso([listen for listen in self._listens if listen.text not in known])
        finally:
            await self._stopListening()
        for function in self._rehearsing:
            await function()
        up: Deferred[None] = Deferred()
        worker = Worker(1, self._verbs, self._answers, lambda: up.callback(None))
        worker.start(self._reactor, self._environment, None)
        ended = worker.ended().addCallback(lambda status: None if up.called else up.errback(_unable(worker, status)))
        self._instruct(worker)
        try:
            await up.addTimeout(REHEARSED_WITHIN, self._reactor, onTimeoutCancel=_hangs)
        finally:
            worker.kill()
            await ended

    def channels(self, state: Mapping[str, Any]) -> list[int]:
        """@return: those of its descriptors whose end is the end of a worker."""
        return [worker["channel"]["socket"] for worker in state["workers"]]

    def _stopListening(self) -> Deferred[Any]:
        return self._stopAt({name for name, _ in self._ports})

    def _stopAt(self, names: Collection[str]) -> Deferred[Any]:
        ports = [port for name, port in self._ports if name in names]
        self._ports = [each for each in self._ports if each[0] not in names]
        return DeferredList([Deferred.fromCoroutine(stopped(port)) for port in ports])


def _unable(worker: Worker, status: int) -> ConfigError:
    """Why it has not come up."""
    said = "" if worker.said is None else f": {worker.said}"
    return ConfigError(worker.complaint or f"a worker ended with status {status}{said}")


def _hangs(result: object, seconds: float) -> NoReturn:
    raise ConfigError(f"a worker has not come up for {seconds:.0f} s")
