"""The query of a request, as plugins see it."""

from __future__ import annotations

from urllib.parse import parse_qsl

__all__ = ["parseQuery"]


def parseQuery(text: str) -> dict[str, tuple[str, ...]]:
    """
    @param text: what comes after the question mark, as sent.
    @return: all values of each parameter, decoded, in their order.
    """
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    return {name: tuple(several) for name, several in values.items()}
