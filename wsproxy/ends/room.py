"""How much waits in the kernel for a connection: as little as does not slow it down, for what waits is old when seen.

Left to itself the kernel keeps megabytes on either side of us, 4 s of them at 1 MB/s. Too little costs system calls:
with 64 KiB always, downstream took a fifth more processor time. So it goes by the rate at which the other side takes
them (see L{wsproxy.tunnel.flow}), between L{SHORT} and as much as the kernel likes.

What is unread is limited of peers alone that are L{NEAR}, on this machine above all. Far ones need the more the farther
they are, which the kernel finds out by itself, unless it was ever told a limit: from then on it does not try, or not
before it is told that it may (Linux 5.15).

Linux only. Where there are no such options, or the connection is a unix socket, all stays as it is.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

__all__ = ["FAST", "FASTEST", "NEAR", "SHORT", "limitUnread", "limitUnsent"]

SHORT = 64 * 1024
"""Bytes that a direction may always keep with the kernel."""

FAST = 20e6
"""Bytes a second, from which on the kernel keeps as much as it likes: what waits for 0.2 s, where it may be 4 MiB."""

FASTEST = 160e6
"""And from which on it does so with what is unread, which may be 32 MiB. No limit that we may set does for 2 GB/s."""

NEAR = 0.00025
"""Seconds to a peer and back. With 208 KiB unread, more than which C{net.core.rmem_max} may not allow: 850 MB/s."""

_TIME = 0.05
"""Seconds for which what it keeps will do: the reactor comes by sooner."""

_LINUX = sys.platform == "linux"
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_BUF_LOCK = 72  # socket(7) does not know it yet; asm-generic/socket.h, of Linux 5.15
_NOTSENT_LOWAT = 25  # tcp(7), linux/tcp.h; not in every version's socket module

_INFO_SIZE = 152
_LEAST_ROUND_TRIP = 148
"""Offset in C{struct tcp_info} (linux/tcp.h), of 32 bits: microseconds."""


def limitUnsent(connection: socket.socket, rate: float = 0.0) -> None:
    """
    Let nobody write while more than is needed waits to be sent. What has been sent, and waits for the peer's
    acknowledgement, is not counted: as much as the line takes.

    @param rate: bytes a second that its peer takes.
    """
    if not _LINUX:
        return
    size = max(SHORT, int(rate * _TIME)) if rate < FAST else 0  # which is the kernel's default, no limit
    with suppress(OSError):  # a unix socket, one that is closed, or a kernel that is too old
        connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, size)


def limitUnread(connection: socket.socket, rate: float) -> None:
    """
    Let what comes wait with the peer rather than here.

    @param rate: bytes a second that are read from here; from L{FASTEST} on the kernel goes by its own measure again.
    """
    if _isNear(connection):
        size = max(SHORT, int((FASTEST if rate >= FASTEST else min(rate, FAST)) * _TIME))
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            if rate >= FASTEST:
                connection.setsockopt(socket.SOL_SOCKET, _BUF_LOCK, 0)


def _isNear(connection: socket.socket) -> bool:
    if not _LINUX or connection.family not in _FAMILIES:
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except OSError:
        return False
    least = int.from_bytes(info[_LEAST_ROUND_TRIP:_INFO_SIZE], sys.byteorder)
    return len(info) == _INFO_SIZE and least < NEAR * 1e6
