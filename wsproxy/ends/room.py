"""How much waits in the kernel for a connection: as little as does not slow it down, for what waits is old when seen.

Left to itself the kernel keeps megabytes on either side of us, 4 s of them at 1 MB/s. Too little costs system calls:
with 64 KiB always, downstream took a fifth more processor time. So it goes by the rate at which the other side takes
them (see L{wsproxy.tunnel.flow}). It is L{SHORT} from the start: what waits already is not taken back.

What is unread is limited of peers alone that are L{NEAR}, on this machine above all. Far ones need the more the farther
they are, which the kernel finds out by itself, unless it was ever told a limit: from then on it does not try.

Linux only. Where there are no such options, or the connection is a unix socket, all stays as it is.
"""

from __future__ import annotations

import socket
import sys

__all__ = ["FASTEST", "MOST_UNREAD", "MOST_UNSENT", "NEAR", "SHORT", "limitUnread", "limitUnsent"]

SHORT = 64 * 1024
"""Bytes that a direction may always keep with the kernel."""

MOST_UNSENT = 1024 * 1024
"""
What may be unsent at most. Downstream has 0.94 of 2.2 GB/s with 512 KiB, and with this as much as without a limit; what
is slow all of a sudden has it before it.
"""

FASTEST = 160e6
"""Bytes a second, from which on it pays that more is unread,"""

MOST_UNREAD = 512 * 1024
"""
namely so much. By 64 and 512 KiB, 1 and 4 MiB downstream had 0.94, 0.98, 0.96 and 0.93 of what it has without a limit.
"""

NEAR = 0.00025
"""Seconds to a peer and back, in which 64 KiB are 260 MB/s."""

_TIME = 0.05
"""Seconds for which what is unsent will do: the reactor comes by sooner."""

_LINUX = sys.platform == "linux"
_NOTSENT_LOWAT = 25  # tcp(7), linux/tcp.h; not in every version's socket module

_INFO_SIZE = 236
_LEAST_ROUND_TRIP = 148
_PROMISED = 232
"""
Offsets in C{struct tcp_info} (linux/tcp.h), of 32 bits each: microseconds, and the bytes that the peer was told it may
send; the latter since Linux 6.2.
"""


def limitUnsent(connection: socket.socket, rate: float = 0.0) -> None:
    """
    Let nobody write while more than is needed waits to be sent. What has been sent, and waits for the peer's
    acknowledgement, is not counted: as much as the line takes.

    @param rate: bytes a second that its peer takes.
    """
    if not _LINUX:
        return
    size = min(max(SHORT, int(rate * _TIME)), MOST_UNSENT)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, size)
    except OSError:
        return  # a unix socket, one that is closed, or a kernel that is too old


def limitUnread(connection: socket.socket, rate: float) -> bool:
    """
    Let what comes wait with the peer rather than here.

    What the peer was told that it may send, and has not sent, would be dropped where there is no room for it any more:
    it sends that again after a while, which it doubles each time, and stays silent for seconds when it is read again.
    So less is asked of it only while it may send nothing.

    @param rate: bytes a second that are read from here; 0 before anything is.
    @return: whether it is so now; else ask again.
    """
    if not _LINUX:
        return True
    size = SHORT if rate < FASTEST else MOST_UNREAD
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        if not _number(info, _LEAST_ROUND_TRIP) < NEAR * 1e6:
            return True
        if rate and 2 * size < connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) and _number(info, _PROMISED):
            return False
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    except OSError:
        pass  # likewise
    return True


def _number(info: bytes, at: int) -> float:
    """@return: infinite, where the kernel is too old to tell."""
    return int.from_bytes(info[at : at + 4], sys.byteorder) if len(info) >= at + 4 else float("inf")
