"""Where an end stands: what it may still send, and what it knows of its peer."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Peer", "Sending"]


class Sending(IntEnum):
    """
    What becomes of what is written. The first two take turns; from there it only goes on.

    Where there is no half-closing, as over TLS, C{CLOSING} is left out: the end of sending is that of the connection.
    """

    HELD = 0
    """It is queued: behind something for which there is no room, or while the socket is still the transport's."""

    DIRECT = 1
    """The kernel is given it at once: nothing is before it."""

    FINISHING = 2
    """It is dropped. Behind what is queued goes the end: end-of-file, or close_notify."""

    FINISHED = 3
    """It is dropped, for the end has been sent, or the peer takes no more. Reading goes on."""

    CLOSING = 4
    """It is dropped. The connection is closed behind what is queued."""

    CLOSED = 5
    """The socket is the transport's again, to close."""


class Peer(IntEnum):
    """What is known of the other side. It only goes on, and may leave steps out."""

    PRESENT = 0

    LEAVING = 1
    """It will send nothing more, has been found out while it was not read, and the tunnel has been told."""

    GONE = 2
    """So it is, and does not read any more either."""

    ENDED = 3
    """It will send nothing more, and all that it sent was received."""
