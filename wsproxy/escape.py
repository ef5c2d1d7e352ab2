"""Text from strangers and operators, made fit for one line of a log or a terminal."""

from __future__ import annotations

__all__ = ["escape"]


def escape(text: str, limit: int | None = 200) -> str:
    """
    C{text} with everything that is not printable written as an escape (C{\\n}, C{\\x1b}, C{\\u202e}), so that it can
    neither break a line nor drive a terminal; cut after C{limit} characters.

    @param limit: L{None} for what is bounded otherwise, and for what an operator wrote.
    """
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
