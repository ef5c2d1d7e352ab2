"""The options of upgrades."""

from __future__ import annotations

from wsproxy.command.kinds import SECONDS
from wsproxy.command.option import Need, Option

__all__ = ["UPGRADE"]

UPGRADE = (
    Option(
        "upgrade-limit", "lifetime.upgradeLimit", SECONDS,
        "Seconds that sessions may stay with the version that was there before an upgrade (SIGUSR2), until they are "
        "closed. 0, the default: as long as they like.",
        needs=(Need(lambda given: "workers" in given, "needs --workers; one process by itself is never upgraded"),),
    ),
)  # fmt: skip
