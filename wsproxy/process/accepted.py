"""Whether a program has accepted a connection, as the kernel knows.

A connection to a listening socket is made by the kernel; the program may accept it later, or never: what is left in a
socket's queue when that is closed is reset. sock_diag(7) tells the one from the other: a connection that waits belongs
to no file yet, its inode is 0.
"""

from __future__ import annotations

import socket
import struct
from enum import Enum
from errno import ENOENT, ENOTCONN

__all__ = ["Acceptance", "acceptance", "canTell"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1

_HEADER = struct.Struct("=IHHII")
"""C{struct nlmsghdr}: length, type, flags, sequence, port id."""

_REQUEST = struct.Struct("=BBBxI2s2s16s16sI8s")
"""C{struct inet_diag_req_v2}: family, protocol, extensions, states; then C{struct inet_diag_sockid}."""

_ANSWER = struct.Struct("=BBBB48xIIIII")
"""C{struct inet_diag_msg}: family, state, timer, retransmits, the id; expires, two queues, user, inode."""

_ALL_STATES = 0xFFFFFFFF
_ESTABLISHED, _SYN_RECV, _CLOSE_WAIT, _LISTEN, _NEW_SYN_RECV = 1, 3, 8, 10, 12
"""C{net/tcp_states.h}."""

_ANY_COOKIE = b"\xff" * 8


class Acceptance(Enum):
    """What became of a connection; closed by the program, it has been accepted, too."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    GONE = "gone"
    UNKNOWN = "unknown"


def acceptance(client: socket.socket) -> Acceptance:
    """
    Takes 25 µs.

    @param client: the near end of a TCP connection whose far end is on this machine; else the answer is UNKNOWN.
    """
    if getattr(client, "family", None) not in (socket.AF_INET, socket.AF_INET6):  # a unix socket, or TLS in memory
        return Acceptance.UNKNOWN
    try:
        here, there = client.getsockname()[:2], client.getpeername()[:2]
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
            diag.setblocking(False)
            diag.send(_question(client.family, there, here))
            return _understood(diag.recv(1024))
    except (OSError, struct.error) as error:
        return Acceptance.GONE if getattr(error, "errno", None) == ENOTCONN else Acceptance.UNKNOWN


def _question(family: int, local: tuple[str, int], remote: tuple[str, int]) -> bytes:
    places = [(socket.inet_pton(family, host), port.to_bytes(2, "big")) for host, port in (local, remote)]
    (source, sourcePort), (destination, destinationPort) = places
    request = _REQUEST.pack(
        family, socket.IPPROTO_TCP, 0, _ALL_STATES, sourcePort, destinationPort, source, destination, 0, _ANY_COOKIE
    )
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    return header + request


def _understood(answer: bytes) -> Acceptance:
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        (error,) = struct.unpack_from("=i", answer, _HEADER.size)
        return Acceptance.GONE if -error == ENOENT else Acceptance.UNKNOWN
    _, state, _, _, _, _, _, _, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    if state == _LISTEN:  # found in place of a connection that is no more
        return Acceptance.GONE
    waits = inode == 0 and state in (_ESTABLISHED, _SYN_RECV, _CLOSE_WAIT, _NEW_SYN_RECV)  # else closed already
    return Acceptance.WAITING if waits else Acceptance.ACCEPTED


def canTell() -> bool:
    """Whether the kernel answers at all: it says of any connection that there is none where it lacks the module."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        return acceptance(client) is Acceptance.WAITING
