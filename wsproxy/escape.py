"""Text from strangers, made fit for a log line."""

from __future__ import annotations

__all__ = ["escape"]


def escape(text: str, limit: int = 200) -> str:
    """
    C{text} with everything that is not printable written as an escape (C{\\n}, C{\\x1b}, C{\\u202e}), so that it can
    neither break a line nor drive a terminal; cut after C{limit} characters.
    """
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
