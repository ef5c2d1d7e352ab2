"""How much waits in the kernel for a connection: as little as does not slow it down, for what waits is old when seen.

Left to itself the kernel keeps megabytes on either side of us, 4 s of them at 1 MB/s. Too little costs system calls:
with 64 KiB always, downstream took a fifth more processor time. So it goes by the rate at which the other side takes
them (see L{wsproxy.tunnel.flow}), between L{SHORT} and as much as the kernel likes.

Linux only. Where there are no such options, or the connection is a unix socket, all stays as it is.
"""

from __future__ import annotations

import socket
import sys

__all__ = ["FAST", "SHORT", "limitUnread", "limitUnsent"]

SHORT = 64 * 1024
"""Bytes that a direction may always keep with the kernel."""

_TIME = 0.05
"""Seconds for which what it keeps will do: the reactor comes by sooner."""

FAST = 20e6
"""Bytes a second, from which on the kernel keeps as much as it likes: what waits for 0.2 s, where it may be 4 MiB."""

_ALLOWED = 200 * 1024
"""Bytes that one may ask for: C{net.core.rmem_max} is 208 KiB where nobody has raised it."""

_LINUX = sys.platform == "linux"
_NOTSENT_LOWAT = 25  # tcp(7), linux/tcp.h; not in every version's socket module
_BUF_LOCK = 72  # asm-generic/socket.h, since Linux 5.14

_INFO_SIZE = 72
_ROUND_TRIP = 68
"""Offset in C{struct tcp_info} (linux/tcp.h), of 32 bits: microseconds."""


def limitUnsent(connection: socket.socket, rate: float = 0.0) -> None:
    """
    Let nobody write while more than is needed waits to be sent. What has been sent, and waits for the peer's
    acknowledgement, is not counted: as much as the line takes.

    @param rate: bytes a second that its peer takes.
    """
    size = max(SHORT, int(rate * _TIME)) if rate < FAST else 0  # which is the kernel's default, no limit
    _set(connection, socket.IPPROTO_TCP, _NOTSENT_LOWAT, size)


def limitUnread(connection: socket.socket, rate: float) -> None:
    """
    Let what comes wait with the peer rather than here, so far as the peer can keep up the rate from where it is.

    @param rate: bytes a second that are read from here.
    """
    if not _unlockable or connection.family not in _FAMILIES:
        return
    size = int(rate * (_TIME + 2 * _roundTrip(connection))) if rate < FAST else _ALLOWED
    if size < _ALLOWED:
        _set(connection, socket.SOL_SOCKET, socket.SO_RCVBUF, max(SHORT, size))
    else:
        _set(connection, socket.SOL_SOCKET, _BUF_LOCK, 0)  # as the kernel likes


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _set(connection: socket.socket, level: int, option: int, value: int) -> bool:
    """@return: whether the kernel, and a connection that is still open, took it."""
    if not _LINUX or connection.family not in _FAMILIES:
        return False
    try:
        connection.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def _roundTrip(connection: socket.socket) -> float:
    """Seconds; 0 where unknown."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except (OSError, AttributeError):
        return 0.0
    return int.from_bytes(info[_ROUND_TRIP:_INFO_SIZE], sys.byteorder) / 1e6


def _tryOut() -> bool:
    """Whether what was limited can be left to the kernel again."""
    with socket.socket() as trial:
        return _set(trial, socket.SOL_SOCKET, _BUF_LOCK, 0)


_unlockable = _tryOut()
