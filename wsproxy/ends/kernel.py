"""What the kernel knows of a connection, and a transport does not tell."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios

__all__ = ["unanswered", "unread", "unsent"]

_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_INFO_SIZE = 60
"""As much of C{struct tcp_info} (linux/tcp.h) as is looked at; what has been in it stays where it is."""

_RETRANSMITS, _PROBES = 2, 3
"""Offsets, each of one byte: how often something was sent again; how many questions for room got no answer."""

_LAST_SENT, _LAST_ACKNOWLEDGEMENT = 44, 56
"""Offsets, each of 32 bits: milliseconds since there was one."""

_PATIENCE = 1000
"""Milliseconds. A kernel answers that it has no room once in half a second (C{tcp_invalid_ratelimit}, tcp(7))."""


def unsent(descriptor: int) -> int:
    """Bytes in a socket's send queue which its peer has not acknowledged; 0 where the kernel does not say."""
    return _count(descriptor, termios.TIOCOUTQ)


def unread(descriptor: int) -> int:
    """Bytes in a socket's receive queue; 0 where the kernel does not say."""
    return _count(descriptor, termios.FIONREAD)


def _count(descriptor: int, request: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, request, b"\0" * 4), sys.byteorder)
    except (OSError, ValueError):  # closed, or never was a socket
        return 0


def unanswered(connection: socket.socket) -> bool:
    """See L{End.unanswered<wsproxy.ends.end.End.unanswered>}."""
    if _TCP_INFO is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_SIZE)
    except OSError:
        return False
    if len(info) < _INFO_SIZE:
        return False
    sent, heard = (_milliseconds(info, offset) for offset in (_LAST_SENT, _LAST_ACKNOWLEDGEMENT))
    return heard >= _PATIENCE and (info[_PROBES] > 0 or (info[_RETRANSMITS] > 0 and heard > sent))


def _milliseconds(info: bytes, offset: int) -> int:
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)
