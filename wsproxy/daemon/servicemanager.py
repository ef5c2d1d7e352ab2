"""What a service manager is told of this process (sd_notify(3), sd_watchdog_enabled(3)).

::

    start ─► READY=1 ─┬─► RELOADING=1 … READY=1
                      ├─► WATCHDOG=1, every quarter of WatchdogSec=, as long as all is well
                      └─► STOPPING=1

Datagrams, and nobody waits for whoever reads them. Without a manager nothing is told.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["ServiceManager"]

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class ServiceManager:
    """
    @param environment: where the manager says of itself what it wants to be told. That is taken out: workers and
        programs that are started later are none of its business.
    @ivar watch: seconds without a sign of life after which it takes this process for dead; L{None}: it does not mind.
    """

    _log = Logger()

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        given = {name: environment.pop(name, "") for name in _VARIABLES}
        self._path = given["NOTIFY_SOCKET"]
        self._watchPid = given["WATCHDOG_PID"]
        microseconds = given["WATCHDOG_USEC"]
        self.watch = int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
        self._petting: LoopingCall | None = None
        self._stopping = False

    def ready(self) -> None:
        """It serves, for the first time or again."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """It looks at its files again; L{ready} follows."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """It is on its way to its end. Told once."""
        if not self._stopping:
            self._stopping = True
            self._tell("STOPPING=1")

    def watchOver(self, clock: IReactorTime, isWell: Callable[[float], Deferred[bool]]) -> None:
        """
        Give signs of life from now on, where the manager wants any of this very process.

        @param isWell: told how many seconds there are for an answer.
        """
        if not self._path or self.watch is None or self._watchPid not in ("", str(os.getpid())):
            return
        interval = self.watch / 4
        self._petting = LoopingCall(self._pet, isWell, interval)
        self._petting.clock = clock
        self._petting.start(interval)

    def _pet(self, isWell: Callable[[float], Deferred[bool]], within: float) -> Deferred[None]:
        return isWell(within).addCallbacks(lambda well: self._tell("WATCHDOG=1") if well else None, self._unwell)

    def _unwell(self, failure: Failure) -> None:
        self._log.failure("asking whether all is well", failure)

    def _tell(self, text: str) -> None:
        if not self._path:
            return
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode("ascii"), address)
        except OSError as error:
            told = text.partition("=")[0]
            self._log.warn("NOTIFY_SOCKET: {error}; {told} is not told", error=error.strerror or error, told=told)
