"""Clients that say checksummed blocks to an echo and look closely at what comes back, and what became of each."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

from OpenSSL.SSL import Error
from twisted.internet import reactor as _reactor
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from tests.integration.bridge import connect
from tests.integration.client import Client, Closed

__all__ = ["Echo", "Echoing", "Loss", "Talker", "Tally", "pause"]

reactor: Any = _reactor

BLOCK = 4096
"""Bytes of the largest block that goes there and back."""

GONE = (OSError, EOFError, Closed, ConnectionClosed, ConnectError, Error)
"""How a connection ends that was not to."""


async def pause(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


class Echo(Protocol):
    """A target that says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Echoing:
    """
    A server of those.

    @ivar target: where it listens, for C{--target}.
    """

    def __init__(self) -> None:
        factory: Any = Factory.forProtocol(Echo)
        factory.noisy = False
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            listener.setblocking(False)
            self._port = reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
            self.target = f"127.0.0.1:{listener.getsockname()[1]}"

    def stop(self) -> Any:
        """@return: fires when nobody listens any more."""
        return self._port.stopListening()


@dataclass(frozen=True)
class Loss:
    """
    A client that did not end as it was to.

    @ivar port: its own.
    @ivar began: when it connected, as L{time.monotonic} counts; C{ended}: when it was lost.
    @ivar served: whether it had a session, from one end to the other.
    """

    port: int
    began: float
    ended: float
    served: bool
    how: str


@dataclass
class Tally:
    """
    What became of many.

    @ivar opened: sessions.
    @ivar finished: those that ended as they were to.
    @ivar size: bytes that went there and back.
    @ivar wrong: blocks that came back as something else.
    @ivar longest: seconds from a block to its echo, of the slowest one.
    """

    opened: int = 0
    finished: int = 0
    size: int = 0
    wrong: int = 0
    longest: float = 0.0
    losses: list[Loss] = field(default_factory=list)


class Talker:
    """
    One client.

    @param number: of which all that is random follows.
    @param rest: seconds between two blocks, on average.
    @ivar port: its own.
    @ivar served: whether it has a session, from one end to the other.
    """

    def __init__(self, tally: Tally, number: int, port: int, tls: Any = None, rest: float = 0.05) -> None:
        self._tally = tally
        self._random = Random(number)
        self._where = port
        self._tls = tls
        self._rest = rest
        self._began = time.monotonic()
        self.port = 0
        self.served = False

    async def talk(self, over: Callable[[], bool]) -> None:
        """Until it is C{over}, or the session is."""
        try:
            client = Client(connect(self._where, self._tls))
        except OSError as error:
            self._lost(error)
            return
        self.port = client.stream.port or 0
        try:
            await self._converse(client, over)
        except GONE as error:
            self._lost(error)
        finally:
            client.stream.reset()

    async def _converse(self, client: Client, over: Callable[[], bool]) -> None:
        response = await client.upgrade()
        if response.status != 101:
            self._lost(response.status)
            return
        self._tally.opened += 1
        while True:
            await self._exchange(client)
            self.served = True
            if over():
                break
            await pause(self._random.uniform(0, 2 * self._rest))
        if await client.leave() == (1000, ""):
            self._tally.finished += 1
        else:
            self._lost("another answer to its Close")

    async def _exchange(self, client: Client) -> None:
        block = self._random.randbytes(self._random.randint(1, BLOCK))
        began = time.monotonic()
        client.send(block)
        heard = await client.exactly(len(block))
        self._tally.longest = max(self._tally.longest, time.monotonic() - began)
        self._tally.size += len(block)
        self._tally.wrong += sha256(heard).digest() != sha256(block).digest()

    def _lost(self, how: object) -> None:
        self._tally.losses.append(Loss(self.port, self._began, time.monotonic(), self.served, repr(how)))
