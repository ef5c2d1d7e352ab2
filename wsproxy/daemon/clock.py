"""Time for a process of our own: durations are measured on a clock that nobody can set.

C{reactor.seconds} is C{time.time}, so that a clock which is set back, by hand or by NTP, holds every timer for as long,
the one that ends a stuck process included; one that is set forward fires them all.
"""

from __future__ import annotations

import time
from typing import Any

__all__ = ["useMonotonic"]


def useMonotonic(reactor: Any) -> None:
    """
    Have the reactor count from the machine's start, for its timers and for all that ask it for C{seconds()}.

    To be called before anything is scheduled: a call that waits already is due at a time of the old clock. Should there
    be one, the reactor is left as it is.
    """
    if not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
