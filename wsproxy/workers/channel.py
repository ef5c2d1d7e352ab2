"""One end of the socket pair between a parent and a worker: requests and their answers, and descriptors that pass.

::

    tell, ask, answers ──────────┬─► Outlet ─► socket ═══ socket ─► Messages ─┬─► told or asked: a verb is called
    log lines, if there is room ─┘   (descriptors join)                       └─► answered: a Deferred fires

Nobody waits for the other side, be it that it was stopped: what it does not take is kept, log lines up to
L{LIMIT<wsproxy.daemon.outlet.LIMIT>}, and whatever else is said up to L{MOST}, beyond which the channel is at its end.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.daemon.log import retrying
from wsproxy.daemon.outlet import Outlet
from wsproxy.fault import logFault
from wsproxy.workers.messages import Answer, Message, MessageError, Messages

__all__ = ["ANSWER_WITHIN", "MOST", "Channel", "ChannelError"]

ANSWER_WITHIN = 5.0
"""Seconds that the other side is given to answer."""

MOST = 32 * 1024 * 1024
"""Bytes that wait for the other side to read them: twice the longest message."""

_CHUNK = 65536

_AT_ONCE = 253
"""Descriptors that go with one call: SCM_MAX_FD, unix(7)."""

_INT = array("i").itemsize

_ROOM = socket.CMSG_SPACE(_AT_ONCE * _INT)

_SCARCE = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})
"""What passes, where sending fails."""

_SENDING = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class ChannelError(Exception):
    """There is no answer: the other side is gone, or says so."""


class _Sink:
    """
    Takes bytes for L{Outlet}, and adds descriptors to those that go next.

    That may be earlier than the message they belong to, which counts them; it is never later.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        return self._connection.fileno()

    @property
    def attached(self) -> Sequence[int]:
        """Those that have not gone."""
        return tuple(self._descriptors)

    def attach(self, descriptors: Iterable[int]) -> None:
        """These go along; they may be closed meanwhile."""
        going: list[int] = []
        try:
            for each in descriptors:
                going.append(os.dup(each))
        except OSError:
            _close(going)
            raise
        self._descriptors += going

    def adopt(self, descriptors: Iterable[int]) -> None:
        """These go along, and are this object's already."""
        self._descriptors += descriptors

    def send(self, data: bytes) -> int:
        try:
            return self._send(data)
        except OSError as error:
            if error.errno in _SCARCE:
                raise BlockingIOError(error.errno, error.strerror) from error
            raise

    def _send(self, data: bytes) -> int:
        if not self._descriptors:
            return self._connection.send(data, _SENDING)
        some = data if len(self._descriptors) <= _AT_ONCE else data[:1]
        going = self._descriptors[:_AT_ONCE]
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", going))
        sent = self._connection.sendmsg([some], [rights], _SENDING)
        del self._descriptors[:_AT_ONCE]
        _close(going)
        return sent

    def close(self) -> None:
        """What has not gone by now does not go any more."""
        going, self._descriptors = self._descriptors, []
        _close(going)


@implementer(IReadDescriptor)
class Channel:
    """
    @param connection: a C{AF_UNIX} stream; the channel's own, which it closes.
    @param peer: who is on the other side, for the log.
    @param lostLines: the message that says how many log lines were lost.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        connection: socket.socket,
        peer: str,
        lostLines: Callable[[int], bytes] = lambda count: b"",
    ) -> None:
        self._reactor = reactor
        self._connection = connection
        self._peer = peer
        self._verbs: Mapping[str, Callable[..., object]] = {}
        self._ended: Callable[[], object] = lambda: None
        self._messages = Messages()
        self._sink = _Sink(connection)
        self._outlet = Outlet(self._sink, retrying(reactor), lostLines)
        self._numbers = count()
        self._asked: dict[int, Deferred[Any]] = {}
        self._owed: set[Deferred[Any]] = set()  # answers to the other side
        self._settling: list[Deferred[None]] = []
        self._hearing = self._saying = True  # the halves of the stream end each for itself

    def start(self, verbs: Mapping[str, Callable[..., object]], ended: Callable[[], object] = lambda: None) -> None:
        """
        Hear what is said.

        @param verbs: what the other side may say. Each is called with the fields of the message by their names, and
            with C{descriptors}, which are its own then, if any came along. What it returns, in the end, is the answer.
        @param ended: called when nothing will be heard any more, unless by L{close}.
        """
        self._verbs, self._ended = verbs, ended
        self._reactor.addReader(self)

    def pause(self) -> Deferred[None]:
        """
        Hear nothing for now: whatever is said waits in the socket.

        @return: fires when all that was asked before is answered.
        """
        self._reactor.removeReader(self)
        settled: Deferred[None] = Deferred()
        if self._owed:
            self._settling.append(settled)
        else:
            settled.callback(None)
        return settled

    def resume(self) -> None:
        """Hear again."""
        if self._hearing:
            self._reactor.addReader(self)

    @property
    def waiting(self) -> int:
        """Bytes that the other side has not taken yet, and the kernel not for it."""
        return self._outlet.waiting

    @property
    def isOpen(self) -> bool:
        """Whether there is still somebody to be heard."""
        return self._hearing

    def state(self) -> dict[str, Any]:
        """
        @return: all of a L{pause}d channel, as JSON can say it, for the code that is executed in place of this. What
            was asked here will not be answered there.
        """
        return {
            "socket": self.fileno(),
            "saying": self._saying,
            "number": next(self._numbers),
            "heard": b64encode(self._messages.rest).decode("ascii"),
            "arrived": list(self._messages.descriptors),
            "unsaid": b64encode(self._outlet.unsent()).decode("ascii"),
            "attached": list(self._sink.attached),
        }

    @staticmethod
    def descriptors(state: Mapping[str, Any]) -> list[int]:
        """@return: those that a L{state} speaks of."""
        return [state["socket"], *state["arrived"], *state["attached"]]

    @classmethod
    def continued(cls, reactor: Any, state: Mapping[str, Any], peer: str) -> Channel:
        """@return: the channel of which this is the L{state}; not started."""
        for descriptor in cls.descriptors(state):
            os.set_inheritable(descriptor, False)
        channel = cls(reactor, socket.socket(fileno=state["socket"]), peer)
        channel._saying = state["saying"]
        channel._numbers = count(state["number"])
        for _ in channel._messages.feed(b64decode(state["heard"]), state["arrived"]):
            raise ChannelError("a whole message was left behind")
        channel._sink.adopt(state["attached"])
        unsaid = b64decode(state["unsaid"])
        if unsaid:
            channel._outlet.write([unsaid], needed=True)
        return channel

    def fileno(self) -> int:
        return self._connection.fileno()

    def logPrefix(self) -> str:
        return "channel"

    def tell(self, verb: str, /, *, descriptors: Sequence[int] = (), **fields: object) -> None:
        """
        Say something; in vain once the other side has gone.

        @param descriptors: that are to be open there, too. They may be closed here afterwards.
        """
        self._send(Message(verb, fields, None, tuple(descriptors)).encode(), descriptors)

    def ask(
        self, verb: str, /, *, within: float = ANSWER_WITHIN, descriptors: Sequence[int] = (), **fields: object
    ) -> Deferred[Any]:
        """
        @param within: seconds until no answer is expected any more.
        @return: fires with the answer. Fails with L{ChannelError} when the other side has gone, or will not answer,
            and with L{TimeoutError<twisted.internet.defer.TimeoutError>} when it has not in time.
        """
        number = next(self._numbers)
        data = Message(verb, fields, number, tuple(descriptors)).encode()
        answer = self._asked[number] = Deferred(lambda _: self._forget(number))
        answer.addTimeout(within, self._reactor)
        self._send(data, descriptors)
        if not (self._hearing and self._saying):
            self._fail(number)
        return answer

    def tellIfRoom(self, lines: Iterable[bytes]) -> None:
        """Say these encoded messages, or lose some, and say how many. In any thread."""
        self._outlet.write(lines)

    def _send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        if not self._saying:
            return
        self._sink.attach(descriptors)
        self._outlet.write([data], needed=True)
        if self._outlet.waiting > MOST:
            self._log.error("{peer} reads nothing, and is given up", peer=self._peer)
            self.close()
            self._ended()

    def finish(self, seconds: float) -> None:
        """Have written what waits, within so many seconds. In any thread."""
        self._outlet.finish(seconds)

    def hangUp(self) -> None:
        """Say that there is nothing more to be said: to a worker, the end. What it says itself is still heard."""
        self._saying = False
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def exhaust(self) -> None:
        """The other side has ended: hear what it said last, and close."""
        while self._hearing and self._read():
            pass
        self.close()

    def close(self) -> None:
        """At once."""
        self._saying = False
        self._hearNoMore()
        self._sink.close()
        self._connection.close()

    def _hearNoMore(self) -> None:
        self._hearing = False
        self._reactor.removeReader(self)
        _close(self._messages.descriptors)
        self._messages.descriptors.clear()
        for number in tuple(self._asked):
            self._fail(number)

    def doRead(self) -> Any:
        """@return: what has the reactor call L{connectionLost}, at the end of the stream."""
        return CONNECTION_DONE if self._read() is None else None

    def connectionLost(self, reason: Failure) -> None:
        """The other side says no more, or the reactor is going down. It may still be spoken to."""
        if self._hearing:
            self._hearNoMore()
            self._ended()

    def _read(self) -> bool | None:
        """@return: whether there was anything; L{None}: there never will be."""
        try:
            data, ancillary, _, _ = self._connection.recvmsg(
                _CHUNK, _ROOM, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return False
        except OSError:  # ECONNRESET: it went without having read everything
            return None
        try:
            for message in self._messages.feed(data, _descriptors(ancillary)):
                self._take(message)
                if not self._hearing:
                    break
        except MessageError:
            self._log.failure("reading what {peer} says", peer=self._peer)
            return None
        return True if data else None

    def _take(self, message: Message | Answer) -> None:
        if isinstance(message, Answer):
            self._answered(message)
        elif message.ask is None:
            try:
                self._obey(message)
            except BaseException:  # raised to the reactor, it would be the last thing heard from there
                logFault(self._log, "{peer} said {verb}", peer=self._peer, verb=message.verb)
        else:
            answer = maybeDeferred(self._obey, message).addCallback(partial(Answer, message.ask))
            answer.addCallback(lambda answer: self._send(answer.encode()))
            answer.addErrback(self._refuse, message.verb, message.ask)
            self._owe(answer)

    def _owe(self, answer: Deferred[Any]) -> None:
        if not answer.called:
            self._owed.add(answer)
            answer.addBoth(lambda _: self._paid(answer))

    def _paid(self, answer: Deferred[Any]) -> None:
        self._owed.discard(answer)
        if not self._owed:
            settling, self._settling = self._settling, []
            for settled in settling:
                if not settled.called:
                    settled.callback(None)

    def _obey(self, message: Message) -> object:
        verb = self._verbs.get(message.verb)
        if verb is None:
            _close(message.descriptors)
            raise ChannelError(f"there is no {message.verb}")
        if message.descriptors:
            return verb(**message.fields, descriptors=message.descriptors)
        return verb(**message.fields)

    def _refuse(self, failure: Failure, verb: str, number: int) -> None:
        if not failure.check(ChannelError):
            logFault(self._log, "{peer} asked {verb}", failure, peer=self._peer, verb=verb)
        self._send(Answer(number, error=failure.getErrorMessage()).encode())

    def _fail(self, number: int) -> None:
        self._answered(Answer(number, error=f"{self._peer} has gone"))

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)

    def _answered(self, answer: Answer) -> None:
        asked = self._asked.pop(answer.to, None)
        if asked is None:  # it is too late
            return
        if answer.error is None:
            asked.callback(answer.answer)
        else:
            asked.errback(ChannelError(answer.error))


def _descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """@return: those that came with what was read."""
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
