"""Pictures of a desktop, to be compared."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Picture"]


@dataclass(frozen=True)
class Picture:
    """C{pixels} are 0xRRGGBB, row after row from the top left."""

    width: int
    height: int
    pixels: Sequence[int]

    @classmethod
    def fromBytes(cls, width: int, height: int, data: bytes) -> Picture:
        """@param data: four bytes a pixel: red, green, blue, and one that does not matter."""
        assert len(data) == width * height * 4, (width, height, len(data))
        return cls(width, height, [word >> 8 for (word,) in struct.iter_unpack(">I", data)])

    def share(self, colour: int) -> float:
        """How much of the picture has exactly this colour, from 0 to 1."""
        return Counter(self.pixels)[colour] / len(self.pixels)

    def difference(self, other: Picture) -> float:
        """How much of the picture is not exactly the same in another of its size, from 0 to 1."""
        assert (self.width, self.height) == (other.width, other.height)
        pairs = zip(self.pixels, other.pixels, strict=True)
        return sum(mine != theirs for mine, theirs in pairs) / len(self.pixels)
