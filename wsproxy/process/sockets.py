"""Where a process listens, as the kernel's own tables have it: proc_pid_net(5)."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address

__all__ = ["listening"]

_LISTEN = "0A"


def listening(pid: int) -> set[str]:
    """
    @return: addresses as target strings: C{127.0.0.1:40123}, C{[::1]:40123}; IPv4 that is mapped into IPv6 as IPv4.
        None of a process that is another user's.
    """
    mine = set(_inodes(pid))
    return {address for address, inode in _listeners(pid) if inode in mine}


def _inodes(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("socket:[").removesuffix("]")


def _listeners(pid: int) -> Iterator[tuple[str, str]]:
    for family, table in (socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6"):
        with suppress(OSError), open(f"/proc/{pid}/net/{table}", encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield _address(family, fields[1]), fields[9]


def _address(family: int, text: str) -> str:
    digits, _, port = text.partition(":")
    words = [int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8)]
    packed = b"".join(words)
    if family == socket.AF_INET6:
        mapped = IPv6Address(packed).ipv4_mapped
        host = f"[{IPv6Address(packed)}]" if mapped is None else str(mapped)
    else:
        host = socket.inet_ntop(family, packed)
    return f"{host}:{int(port, 16)}"
