"""Traffic marks: one character for each piece that passes, on a stream of the operator's choice.

==== =============================== ====
``}``  the client sent payload         ``}.`` and its last frame is incomplete
``>``  it was written to the target    ``>.`` which could not take all of it yet
``{``  the target sent bytes
``<``  they were written to the client ``<.`` which could not take all of them yet
==== =============================== ====
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from wsproxy.ends.end import Buffer

__all__ = ["TrafficMarks"]


class TrafficMarks:
    """A L{Tap<wsproxy.interfaces.Tap>} that writes marks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        self._mark("}", partial)

    def toTarget(self, congested: bool) -> None:
        self._mark(">", congested)

    def fromTarget(self, data: Buffer) -> None:
        self._mark("{", False)

    def toClient(self, congested: bool) -> None:
        self._mark("<", congested)

    def close(self) -> None:
        """The stream serves the next session."""

    def _mark(self, mark: str, partial: bool) -> None:
        try:
            self._stream.write(mark + "." if partial else mark)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # whoever watched has gone; the session has not
