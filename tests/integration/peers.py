"""How the peers of a session may behave, on either side of it: well, badly, or not at all any more."""

from __future__ import annotations

import contextlib  # not its suppress: trial takes a module attribute of that name for its own
import ctypes
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from OpenSSL.SSL import Error
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionClosed
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater

from tests.integration.client import Client, Closed, header, mask
from tests.integration.stream import Stream

__all__ = ["BEHAVIOURS", "KERNEL", "LIVES", "Behaviour", "Peer", "behave", "end", "reset", "vanish"]

reactor: Any = _reactor

KERNEL = 64 << 10
"""Bytes, roughly, that the kernel holds for a peer: nothing we promise about."""

CHUNK = 16 << 10
PAUSE = 0.1
"""Seconds between two chunks of one who is in no hurry."""

BURST = 256
"""Chunks of one who is: 4 MiB, more than the buffers on its way hold when nobody reads."""

_SOURCE_ROUTE = b"\x83\x07\x04\x7f\x00\x00\x01\x00"
"""By way of 127.0.0.1 (RFC 791). No kernel takes packets that say their own way, unless it is told to."""

LIVES = 1.0
"""Seconds until one leaves who is going to."""

_KEY = b"\x01\x02\x03\x04"
_RECORD = b"\x17\x03\x03\x01\x00" + bytes(256)
"""Application data of TLS that nobody has encrypted."""


def vanish(stream: Stream) -> None:
    """
    Of what is sent to this stream its kernel sees nothing any more, nor does anybody of what it sends, repeats or asks:
    its machine might as well be gone.
    """
    connection = _bare(stream).getHandle()
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF_RET of 0 bytes
    program = struct.pack("HP", 1, ctypes.addressof(drop))
    connection.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER, socket(7)
    connection.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, _SOURCE_ROUTE)


def reset(stream: Stream) -> None:
    """Have the peer see a reset, even of one that has vanished."""
    if stream.lost is None:
        _bare(stream).getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
    stream.reset()


def end(stream: Stream) -> None:
    """The peer's process ends: its kernel says so, behind all that it has not sent yet."""
    _bare(stream).connectionLost(connectionDone)


def _bare(stream: Stream) -> Any:
    transport = stream.transport
    return getattr(transport, "transport", transport)  # there is one more over TLS


def _pause(seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds, lambda: None)


class Peer:
    """
    The client or the target of a session. Whatever it says is a stream of one letter.

    @param client: its connection, where it speaks WebSocket.
    """

    def __init__(self, stream: Stream, says: bytes, hears: bytes, client: Client | None = None) -> None:
        self.stream = stream
        self.client = client
        self.calm = False
        self._hears = hears
        chunk = says * CHUNK
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            _bare(stream).getHandle().setsockopt(socket.SOL_SOCKET, option, KERNEL)
        self._chunk = chunk if client is None else header(CHUNK, key=_KEY) + mask(chunk, _KEY)

    async def say(self) -> None:
        await self.stream.send(self._chunk)

    async def hear(self) -> bool:
        """@return: whether there was anything, and more may follow."""
        data = await (self.stream if self.client is None else self.client).some()
        assert data.count(self._hears) == len(data), data
        return bool(data)

    async def burst(self) -> None:
        for _ in range(BURST):
            await self.say()

    async def talk(self) -> None:
        """In no hurry, until nobody is to say anything any more."""
        while not self.calm:
            await self.say()
            await _pause(PAUSE)

    async def listen(self, pause: float = 0) -> None:
        """To all that is said, with pauses; then leave as is proper."""
        try:
            while await self.hear():
                if pause:
                    await _pause(pause)
                if self.calm and pause:
                    return
        except Closed:
            assert self.client is not None
            self.client.close()
            await self.stream.gone()
        else:
            self.stream.close()

    async def stare(self) -> None:
        """Take what comes, and answer nothing, whatever it is."""
        await self.stream.gone()

    async def until(self, leave: Callable[[Stream], None]) -> None:
        """Be in a hurry, listen, and C{leave} in the midst of it."""
        doing = [behave(self.burst()), behave(self.listen())]
        await _pause(LIVES)
        if self.stream.lost is None:
            leave(self.stream)
        await gatherResults(doing)


def behave(doing: Awaitable[object]) -> Deferred[object]:
    """Fires when that is over, or its connection is."""

    async def run() -> None:
        with contextlib.suppress(EOFError, Closed, ConnectionClosed, Error):
            await doing

    return Deferred.fromCoroutine(run())


async def healthy(peer: Peer) -> None:
    """Talks and listens."""
    await gatherResults([behave(peer.talk()), behave(peer.listen())])


async def slow(peer: Peer) -> None:
    """Talks, and listens with pauses."""
    await gatherResults([behave(peer.talk()), behave(peer.listen(PAUSE))])


async def deaf(peer: Peer) -> None:
    """Talks as fast as it is heard, and does not listen."""
    await peer.burst()
    await peer.talk()


async def mute(peer: Peer) -> None:
    """Does neither, though its kernel is there."""


async def breaking(peer: Peer) -> None:
    """A client that breaks the protocol, and does not answer the Close that tells it so."""
    peer.stream.write(header(0, 3))
    await peer.stare()


async def announcing(peer: Peer) -> None:
    """A client that announces a frame and does not send it, nor anything else."""
    peer.stream.write(header(1 << 40))
    await peer.stare()


async def garbling(peer: Peer) -> None:
    """Talks TLS, and then something else."""
    await peer.say()
    _bare(peer.stream).write(_RECORD)
    await peer.stare()


async def finished(peer: Peer) -> None:
    """A target that says it is at its end, and stays, without listening."""
    peer.stream.finish()


async def ending(peer: Peer) -> None:
    """Its process ends."""
    await peer.until(end)


async def resetting(peer: Peer) -> None:
    """Resets the connection."""
    await peer.until(Stream.reset)


async def vanishing(peer: Peer) -> None:
    """Its machine is gone."""
    await peer.until(vanish)


Behaviour = Callable[[Peer], Awaitable[None]]

BEHAVIOURS: tuple[Behaviour, ...] = (healthy, slow, deaf, mute, ending, resetting, vanishing)
"""Those of clients and targets alike, whatever they speak."""
