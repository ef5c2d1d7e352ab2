"""What one version of a process leaves to the next, which is executed in its place: values, and descriptors.

::

    old code ─► memory file: JSON ─► execv: same process, the caretaker ─► new code, same command line
                   its descriptor is in the environment, as WSPROXY_HANDOVER=N

No arguments and no file: what is left holds secrets. A rehearsal is given the same, so that it can say whether it
would do; but of the descriptors that are spoken of it has none.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wsproxy.errors import ConfigError

__all__ = ["COULD_START", "VARIABLE", "Handover", "leave", "receive", "serves"]

VARIABLE = "WSPROXY_HANDOVER"

COULD_START = 86
"""The exit status of a rehearsal that went well, and of nothing else: 0 has whatever ends early without a complaint."""

_FORMAT = 1

_CARETAKER = "wsproxy caretaker"
"""L{wsproxy.daemon.caretaker}, in the process that this code is new in: it is that of the code before."""


@dataclass(frozen=True)
class Handover:
    """
    @ivar rehearsal: the new code is only to say whether it could start.
    @ivar state: what there is to take over, by the names of those who do.
    @ivar caretaker: what L{Caretaker<wsproxy.daemon.caretaker.Caretaker>} needs, who reads it first.
    """

    rehearsal: bool
    state: Mapping[str, Any]
    caretaker: Mapping[str, Any]


def leave(handover: Handover) -> int:
    """
    @return: the descriptor of what L{receive} reads; not inherited by itself.
    @raise OSError: there are no descriptors left, or no memory.
    """
    descriptor = os.memfd_create("handover", os.MFD_CLOEXEC)
    plain = {"format": _FORMAT, **asdict(handover)}
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
        return Handover(bool(plain["rehearsal"]), plain["state"], plain["caretaker"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{VARIABLE}: {error}") from None


def serves() -> None:
    """This code has taken its place: nobody needs to hold it any more."""
    caretaker: Any = sys.modules.get(_CARETAKER)
    if caretaker is not None:
        caretaker.release()
