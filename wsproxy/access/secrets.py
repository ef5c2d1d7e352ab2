"""What the log may say of a secret: enough to tell one from another, and nothing that is worth having."""

from __future__ import annotations

import os
from hashlib import blake2b

__all__ = ["shown"]

_KEY = os.urandom(32)
"""Of this process alone: who reads its log cannot try tokens out on it, nor compare it with another's."""


def shown(secret: str) -> str:
    """@return: eight hexadecimal digits, the same for the same secret as long as this process lives."""
    return blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=4, key=_KEY).hexdigest()
