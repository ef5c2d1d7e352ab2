"""An answer of the admin side: JSON, or a document as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Reply", "asJSON", "problem"]


@dataclass(frozen=True, slots=True)
class Reply:
    """
    @ivar kind: its content type.
    """

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def asJSON(value: Any, status: int = 200) -> Reply:
    """@param value: of what JSON can say."""
    return Reply(status, json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n")


def problem(status: int, words: str, *headers: tuple[str, str]) -> Reply:
    """What was wrong, in one line that a person can read."""
    return Reply(status, json.dumps({"error": words}).encode("ascii") + b"\n", headers=headers)
