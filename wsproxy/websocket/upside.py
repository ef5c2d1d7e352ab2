"""The upper side of a transport over another one: what the protocol above asks of it.

Twisted's TCP transports are the measure, down to what a producer may still say after C{loseConnection}.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsproxy.fault import logFault
from wsproxy.websocket.pulled import Pulled

__all__ = ["Upside"]


class Upside:
    """
    @ivar transport: the connection beneath.
    @ivar disconnecting: whether the protocol has asked for the end. It hears no more data then.
    """

    transport: Any
    disconnecting = False
    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._producer: Any = None
        self._pulled: Pulled | None = None
        self._congested = False
        self._held = False  # whether the protocol does not want to be told more
        self._kept = b""  # what has come, and waits for that

    # what else there is to it

    @property
    @abstractmethod
    def _writable(self) -> bool:
        """Whether what is written is sent."""

    @property
    @abstractmethod
    def _isOver(self) -> bool:
        """Whether the protocol has lost its connection."""

    @abstractmethod
    def _send(self, payload: list[bytes]) -> None:
        """Say this."""

    @abstractmethod
    def _leave(self) -> None:
        """End it, behind what was said."""

    @abstractmethod
    def _deliver(self) -> None:
        """Tell the protocol what was kept for it."""

    # writing

    def write(self, data: bytes) -> None:
        if data and self._writable:
            self._send([data])

    def writeSequence(self, data: Iterable[bytes]) -> None:
        pieces = list(data)
        if any(pieces) and self._writable:
            self._send(pieces)

    def loseConnection(self) -> None:
        """Close, behind what was written, and what the producer has still to say."""
        if not (self.disconnecting or self._isOver):
            self.disconnecting = True
            self._leaveWhenDone()

    def abortConnection(self) -> None:
        """Drop the connection, and what was not sent yet."""
        self.disconnecting = True
        self.transport.abortConnection()

    def _leaveWhenDone(self) -> None:
        """As TCP has it: a push producer that is paused is heard once more, a pull producer until it unregisters."""
        if self._pulled is None and not (self._producer is not None and self._congested):
            self._leave()

    # the producer above

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"Cannot register producer {producer}: there is one already, {self._producer}")
        if self._isOver:
            producer.stopProducing()
            return
        if not streaming:
            producer = self._pulled = Pulled(producer, self._clock, self._producerFailed)
        self._producer = producer
        if self._congested:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        pulled, self._pulled, self._producer = self._pulled, None, None
        if pulled is not None:
            pulled.stop()
        if self.disconnecting and not self._isOver:
            self._leaveWhenDone()

    def _producerFailed(self) -> None:
        logFault(self._log, "a producer failed")
        self.unregisterProducer()
        self.abortConnection()

    def _pauseProducer(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def _resumeProducer(self) -> None:
        producer = self._producer
        if producer is not None:
            producer.resumeProducing()
            if self.disconnecting and not self._isOver:
                self._leaveWhenDone()

    def _stopProducer(self) -> None:
        producer, self._producer, self._pulled = self._producer, None, None
        if producer is not None:
            producer.stopProducing()

    # reading

    def pauseProducing(self) -> None:
        """Tell no more, until L{resumeProducing}."""
        if not (self.disconnecting or self._isOver):
            self._held = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Tell what comes. Nothing is told within this call."""
        if self._isOver:
            return
        self._held = False
        if self._kept:
            self._clock.callLater(0, self._deliver)
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self.loseConnection()

    def stopReading(self) -> None:
        """What some protocols ask of TCP's transports, by a name that no interface has."""
        self.pauseProducing()

    def startReading(self) -> None:
        """Likewise."""
        self.resumeProducing()

    # who is on the other side

    def getPeer(self) -> Any:
        return self.transport.getPeer()

    def getHost(self) -> Any:
        return self.transport.getHost()

    def __getattr__(self, name: str) -> Any:
        """What else the connection beneath can do: its certificate, its options."""
        if name.startswith("_") or name == "transport":
            raise AttributeError(name)
        return getattr(self.transport, name)

    def getHandle(self) -> Any:
        return self.transport.getHandle()

    def getTcpNoDelay(self) -> Any:
        return self.transport.getTcpNoDelay()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.transport.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> Any:
        return self.transport.getTcpKeepAlive()

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.transport.setTcpKeepAlive(enabled)
