"""Where a tunnel stands.

::

                  target's EOF or loss; close()                 client's Close, EOF, loss or error
    CONNECTED ─────────────────────────────────► CLOSING ─┬─────────────────────────────────────► FINISHING ─► CLOSED
     │  └─────────────── client's Close, EOF, loss or error ────────────────────────────────────────►┘
     └─ EOF of either, over plain TCP ─► HALF_OPEN ─ EOF of the other ─► CLOSING; else as CONNECTED
    anywhere: abort() ─► ABORTING ─► CLOSED
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["State"]


class State(IntEnum):
    """It only goes on, and may leave steps out. Up to C{CLOSING} the client is heard, up to C{HALF_OPEN} the target."""

    CONNECTED = 0
    """Both directions flow; before the target has been dialled, its direction queues."""

    HALF_OPEN = 1
    """Over plain TCP, which has no Close: one direction has ended, the other goes on."""

    CLOSING = 2
    """
    Our Close frame is on its way behind everything the target wrote. What the client sends is still relayed until its
    own Close. Over plain TCP the end of the stream stands for the frame.
    """

    FINISHING = 3
    """
    The client is done. What it sent is flushed to the target, then end-of-file. A client that has broken the protocol
    is read on for the Close that answers ours.
    """

    ABORTING = 4
    """Both ends are being dropped."""

    CLOSED = 5
    """Both ends are gone."""
