"""The socket that rebind reports to."""

from __future__ import annotations

import os
import secrets
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.fault import logFault
from wsproxy.process.report import REPORT_LIMIT, Report, parseReport

__all__ = ["ReportSocket"]

_ROUNDS = 64
"""Reports read before the reactor has its turn."""

_log = Logger()

_CREDENTIALS = struct.Struct("3i")
"""C{struct ucred}: pid, uid, gid; unix(7)."""

_DESCRIPTOR = struct.Struct("i")

_ROOM = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DESCRIPTOR.size)


@implementer(IReadDescriptor)
class ReportSocket:
    """A unix datagram socket for those who know its path: a program may become another user before it listens.

    @param directory: where to make it; an empty one of ours.
    @param reported: called with each report, and the process that sent it according to the kernel; says whether the
        answer is yes.
    @ivar path: what the program is told; up to 107 bytes.
    @raise OSError: it cannot be made there.
    """

    def __init__(self, reactor: Any, directory: str, reported: Callable[[Report, int], bool]) -> None:
        self.path = os.path.join(directory, secrets.token_hex(8))
        self._reactor = reactor
        self._reported = _guarded(reported)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # a program in a pid namespace of its own does not know which number it has in ours
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # /proc/net/unix shows to everybody under which name a socket was bound, but not how it was renamed
        bound = os.path.join(directory, "reports")
        self._socket.bind(bound)
        os.rename(bound, self.path)
        os.chmod(self.path, 0o622)
        os.chmod(directory, 0o711)
        reactor.addReader(self)

    @classmethod
    def continued(
        cls, reactor: Any, path: str, descriptor: int, reported: Callable[[Report, int], bool]
    ) -> ReportSocket:
        """@return: the one that had this path and this descriptor."""
        again = cls.__new__(cls)
        again.path = path
        again._reactor = reactor
        again._reported = _guarded(reported)
        again._socket = socket.socket(fileno=descriptor)
        again._socket.set_inheritable(False)
        reactor.addReader(again)
        return again

    def close(self) -> None:
        """Stop reading, and remove the socket."""
        self._reactor.removeReader(self)
        self._socket.close()
        os.unlink(self.path)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "rebind"

    def doRead(self) -> None:
        """Take the reports that have come in; also called to have them all before a program is declared dead."""
        for _ in range(_ROUNDS):
            try:
                datagram, ancillary, _, _ = self._socket.recvmsg(REPORT_LIMIT, _ROOM, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            report = parseReport(datagram)
            yes = report is not None and self._reported(report, _sender(ancillary))
            _answer(ancillary, yes)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid: int = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
            return pid
    return 0


def _answer(ancillary: list[tuple[int, int, bytes]], yes: bool) -> None:
    """Let the sender go on, which waits for the other end of what it has passed; a byte is a yes."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            for (descriptor,) in _DESCRIPTOR.iter_unpack(data[: len(data) // _DESCRIPTOR.size * _DESCRIPTOR.size]):
                try:
                    asking = socket.socket(fileno=descriptor)
                except OSError:  # something else
                    os.close(descriptor)
                    continue
                with suppress(OSError), asking:
                    asking.send(b"\1" * yes, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _guarded(reported: Callable[[Report, int], bool]) -> Callable[[Report, int], bool]:
    """The same, but what it raises is logged: raised to the reactor, it would be the last report that is heard."""

    def tell(report: Report, sender: int) -> bool:
        try:
            return reported(report, sender)
        except BaseException:
            logFault(_log, "obeying {report} of process {sender}", report=report, sender=sender)
            return False

    return tell
