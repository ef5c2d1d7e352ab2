"""What one version of a process leaves to the next, which is executed in its place: values, and descriptors.

::

    old code ─► memory file: JSON ─► execv: same process, same command line ─► new code
                   its descriptor is in the environment, as WSPROXY_HANDOVER=N

No arguments and no file: what is left holds secrets. A rehearsal is given the same, so that it can say whether it
would do; but of the descriptors that are spoken of it has none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsproxy.errors import ConfigError

__all__ = ["VARIABLE", "Handover", "leave", "receive"]

VARIABLE = "WSPROXY_HANDOVER"

_FORMAT = 1


@dataclass(frozen=True)
class Handover:
    """
    @ivar rehearsal: the new code is only to say whether it could start.
    @ivar state: what there is to take over, by the names of those who do.
    """

    rehearsal: bool
    state: Mapping[str, Any]


def leave(handover: Handover) -> int:
    """
    @return: the descriptor of what L{receive} reads; not inherited by itself.
    @raise OSError: there are no descriptors left, or no memory.
    """
    descriptor = os.memfd_create("handover", os.MFD_CLOEXEC)
    plain = {"format": _FORMAT, "rehearsal": handover.rehearsal, "state": handover.state}
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(json.dumps(plain).encode("ascii"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def receive() -> Handover | None:
    """
    @return: what the code before this one has left; L{None} where this is the first. Once: whatever is started from
        here inherits nothing of it.
    @raise ConfigError: it cannot be understood.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        with open(int(text), "rb") as stream:
            stream.seek(0)
            plain = json.load(stream)
        if plain["format"] != _FORMAT:
            raise ConfigError(f"{VARIABLE}: of another format, {plain['format']}; a restart is needed")
        return Handover(bool(plain["rehearsal"]), plain["state"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{VARIABLE}: {error}") from None
