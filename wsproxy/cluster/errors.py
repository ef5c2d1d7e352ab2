"""What is wrong with Redis."""

from __future__ import annotations

__all__ = ["RedisAway", "RedisError"]


class RedisError(Exception):
    """It does not do what it was asked; C{str()} is one line, without anything secret."""


class RedisAway(RedisError):
    """It does not answer, or not in time, or not as Redis would."""
