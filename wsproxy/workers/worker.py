"""One of several processes, as its parent sees it; what it is to itself is in L{wsproxy.workers.child}."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from wsproxy.errors import ConfigError
from wsproxy.process.adopted import AdoptedProcess, descriptorsOf
from wsproxy.process.output import LineLog
from wsproxy.workers.channel import ANSWER_WITHIN, Channel, ChannelError
from wsproxy.workers.unheard import held

__all__ = ["Worker"]

_MOURNING = 2.0
"""Seconds from the end of a worker's channel to that of its process, at most."""

_logger = cache(Logger)
"""By the namespace of whoever said something in a worker."""


class Worker(ProcessProtocol):
    """
    One process.

    @param verbs: what it may say that is not about the process alone: L{Channel.start}.
    @param answers: likewise, but called with this worker first.
    @param proven: called when it takes connections.
    @ivar number: which one it is to people, from 1.
    @ivar complaint: why it cannot start, where the configuration is to blame.
    @ivar said: the last line that it has printed, beside the log.
    @ivar ending: fires when its clients have been told to go, or it has ended.
    @ivar isDismissed: it has been ended before it came up, for the code that comes to start others.
    @ivar isRetired: it has been told to leave new clients to others.
    @ivar retireBy: when its last sessions are closed, as the reactor counts; L{None}: when they like.
    """

    transport: Any
    _channel: Channel
    _reactor: Any
    _log = Logger()

    def __init__(
        self,
        number: int,
        verbs: Mapping[str, Callable[..., object]],
        answers: Mapping[str, Callable[..., object]],
        proven: Callable[[], object],
    ) -> None:
        self.complaint: str | None = None
        self.said: str | None = None
        self.ending: Deferred[None] = Deferred()
        self.number = number
        self.isDismissed = False
        self.isRetired = False
        self.retireBy: float | None = None
        self._proven = proven
        self._up = False
        self._verbs: dict[str, Callable[..., object]] = {
            **verbs,
            **{verb: partial(function, self) for verb, function in answers.items()},
            "up": self._isUp,
            "unable": self._isUnable,
            "log": self._logged,
            "ending": self._isEnding,
        }
        self._output = {1: LineLog(self._printed), 2: LineLog(self._printed)}
        self._status: int | None = None
        self._waiting: list[Deferred[int]] = []

    def start(self, reactor: Any, environment: dict[str, str], stdout: int | None) -> None:
        """@raise OSError: it cannot be."""
        # -P: modules are not looked for in the current directory, which is anybody's
        words = [sys.executable, "-P", "-m", "wsproxy.workers.child", str(self.number), type(reactor).__module__]
        words.append("parent" if stdout is None else "stdout")
        self._reactor = reactor
        ours, theirs = socket.socketpair()
        with theirs:
            childFDs = {0: theirs.fileno(), 1: "r" if stdout is None else stdout, 2: "r"}
            try:
                with held():
                    reactor.spawnProcess(self, words[0], words, environment, childFDs=childFDs)
            except BaseException:
                ours.close()
                raise
        self._channel = Channel(reactor, ours, f"worker {self.number}")
        self._channel.start(self._verbs)
        self._log.info("worker {number} started as process {pid}", number=self.number, pid=self.transport.pid)

    @classmethod
    def adopted(
        cls,
        reactor: Any,
        state: Mapping[str, Any],
        verbs: Mapping[str, Callable[..., object]],
        answers: Mapping[str, Callable[..., object]],
    ) -> Worker:
        """
        @param state: the L{state} of a worker that the code before this one has started.
        @return: it; L{listen} has it heard.
        @raise OSError: there is no such process.
        """
        worker = cls(state["number"], verbs, answers, lambda: None)
        worker._up = True
        worker.isRetired, worker.retireBy = state["isRetired"], state["retireBy"]
        worker._channel = Channel.continued(reactor, state["channel"], f"worker {worker.number}")
        pipes = {int(number): descriptor for number, descriptor in state["pipes"].items()}
        AdoptedProcess(reactor, worker, state["pid"], pipes)
        return worker

    def listen(self) -> None:
        """Hear an adopted worker."""
        self._channel.start(self._verbs)

    def state(self) -> dict[str, Any]:
        """@return: all of it that the next code needs, once it is L{pause}d."""
        return {
            "number": self.number,
            "pid": self.pid,
            "isRetired": self.isRetired,
            "retireBy": self.retireBy,
            "pipes": descriptorsOf(self.transport),
            "channel": self._channel.state(),
        }

    @staticmethod
    def descriptors(state: Mapping[str, Any]) -> list[int]:
        """@return: those that a L{state} speaks of."""
        return [*state["pipes"].values(), *Channel.descriptors(state["channel"])]

    @property
    def pid(self) -> int:
        pid: int = self.transport.pid
        return pid

    @property
    def isThere(self) -> bool:
        """Whether it can still be heard: else it is about to have ended."""
        return self._status is None and self._channel.isOpen

    def pause(self) -> Deferred[None]:
        """See L{Channel.pause}."""
        return self._channel.pause()

    def resume(self) -> None:
        self._channel.resume()

    def retire(self) -> None:
        """It is to leave new clients to others, and to end with the last of those it has."""
        self.isRetired = True
        self.tell("retire")

    def tell(self, verb: str, /, *, descriptors: Sequence[int] = (), **fields: object) -> None:
        """@raise OSError: this process has no descriptors left."""
        self._channel.tell(verb, descriptors=descriptors, **fields)

    @property
    def up(self) -> bool:
        """Whether it has said that it takes connections."""
        return self._up

    def ask(self, verb: str, /, *, within: float, **fields: Any) -> Deferred[Any]:
        """See L{Channel.ask}. @raise OSError: this process has no descriptors left."""
        return self._channel.ask(verb, within=within, **fields)

    def answers(self, within: float) -> Deferred[bool]:
        """@return: fires with whether it has answered in so many seconds, or has ended."""
        asked = self.ask("sessions", within=within)
        return asked.addCallbacks(lambda _: True, lambda failure: failure.check(TimeoutError) is None)

    def check(self, config: dict[str, Any]) -> Deferred[None]:
        """
        Whether it could go on with these settings: it makes what they need, and keeps that.

        @return: fails with L{ConfigError} where it could not, or does not answer. One that ends now does not matter.
        """

        def failed(failure: Failure) -> Deferred[None]:
            if failure.check(TimeoutError):
                raise ConfigError(f"worker {self.number} has not answered for {ANSWER_WITHIN:.0f} s")
            failure.trap(ChannelError)
            ended = self.ended().addTimeout(_MOURNING, self._reactor)
            return ended.addCallbacks(lambda status: None, still)

        def still(failure: Failure) -> None:
            raise ConfigError(f"worker {self.number} cannot tell, see the log")

        def answered(problem: str | None) -> None:
            if problem is not None:
                raise ConfigError(problem)

        return self._channel.ask("check", config=config).addCallbacks(answered, failed)

    def drain(self) -> None:
        """It is to take no more clients, and to end with the last of its sessions."""
        if self._killedEarly():
            return
        sessions = self._channel.ask("sessions")
        sessions.addCallbacks(self._drains, self._isMute)
        self.tell("drain")

    def _drains(self, sessions: int) -> None:
        self._log.info("worker {number} drains its sessions: {sessions}", number=self.number, sessions=sessions)

    def _isMute(self, failure: Failure) -> None:
        if failure.check(TimeoutError):
            self._log.warn("worker {number} has not answered for {time:.0f} s", number=self.number, time=ANSWER_WITHIN)
        else:
            failure.trap(ChannelError)

    def hangUp(self) -> None:
        """It is to end."""
        if not self._killedEarly():
            self._channel.hangUp()

    def _killedEarly(self) -> bool:
        """One that is still starting has no sessions, and would only begin to accept clients."""
        if not self._up:
            self.kill()
        return not self._up

    def kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)

    def dismiss(self) -> None:
        """End it where it is of no use to the code that comes."""
        self.isDismissed = not self._up
        self.kill()

    def ended(self) -> Deferred[int]:
        """@return: fires with its exit status, 128 + the number for a signal."""
        deferred: Deferred[int] = Deferred()
        if self._status is None:
            self._waiting.append(deferred)
        else:
            deferred.callback(self._status)
        return deferred

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._output[childFD].feed(data)

    def childConnectionLost(self, childFD: int) -> None:
        self._output[childFD].end()

    def _isUp(self) -> None:
        self._up = True
        self._log.info("worker {number} is up", number=self.number)
        self._proven()

    def _isUnable(self, line: str) -> None:
        self.complaint = line

    def _isEnding(self) -> None:
        if not self.ending.called:
            self.ending.callback(None)

    def _logged(self, namespace: str, level: str, text: str, record: dict[str, Any] | None = None) -> None:
        """@param record: it in JSON, where that is what the log is."""
        emit, severity = _logger(namespace).emit, LogLevel.lookupByName(level)
        if record is not None:
            emit(severity, "worker {number}: {line}", number=self.number, line=text, record=record)
            return
        for line in text.splitlines():
            emit(severity, "worker {number}: {line}", number=self.number, line=line)

    def _printed(self, line: str) -> None:
        self.said = line
        self._log.warn("worker {number}: {line}", number=self.number, line=line)

    def processEnded(self, reason: Failure) -> None:
        self._channel.exhaust()
        value: Any = reason.value
        self._status = value.exitCode if value.signal is None else 128 + value.signal
        self._isEnding()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self._status)
