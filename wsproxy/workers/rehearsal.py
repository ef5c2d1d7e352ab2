"""New code that is tried out beside the one that serves: a process of its own, which ends with the outcome."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsproxy.errors import ConfigError
from wsproxy.workers.parent import Workers

__all__ = ["rehearse"]


def rehearse(workers: Workers, reactor: Any) -> None:
    """
    Run the reactor for as long as it takes to know.

    @raise ConfigError: this could not take over.
    """
    outcome: list[Failure | None] = []

    def known(result: Failure | None) -> None:
        outcome.append(result)
        reactor.crash()  # without waiting for anybody's threads

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(workers.rehearse()).addBoth(known))
    reactor.run()
    if not outcome:
        raise ConfigError("it was told to end")
    if outcome[0] is not None:
        outcome[0].raiseException()
