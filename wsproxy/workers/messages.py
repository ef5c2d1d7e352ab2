"""What a parent and its workers say to each other: JSON arrays, one a line, the first item a verb.

::

    parent ─► worker, on its stdin                        worker ─► parent, on L{REPORTS}
    ["start", …]                 first of all             ["up"]                  it takes connections
    ["program", STATE]           of a wrapped program     ["unable", LINE]        why it cannot start
    ["reload"]                   the certificates         ["log", NAMESPACE, LEVEL, TEXT]
    ["drain"]                    take no more clients,    ["ending"]              its clients have been told to go
                                 end with the last one    ["served"]              a client has reached the program
    ["end"]                      the program has ended    ["gone", GENERATION, PORT, ADDRESS]
    end-of-file                  there is no parent; end                          nothing listens there any more

No Twisted in here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["REPORTS", "SHARE", "SOCKETS", "Messages", "encode"]

REPORTS = 3
"""The descriptor that a worker writes to."""

SHARE = 4
"""The descriptor of the memory that workers have in common: L{wsproxy.workers.accepting}."""

SOCKETS = 5
"""The descriptor of the first listening socket; the others follow."""


def encode(verb: str, *words: object) -> bytes:
    """
    @param words: of what JSON can say. Tuples arrive as lists.
    @return: one line. It is ASCII, and carries the bytes of file names that are no text (PEP 383).
    """
    return json.dumps([verb, *words]).encode("ascii") + b"\n"


class Messages:
    """Bytes in, however they were split, and messages out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """@return: the messages that C{data} completes."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = b"".join([*self._parts, line])
            self._parts.clear()
            yield json.loads(whole)
        self._parts.append(rest)
