"""The options of a cluster, beside C{--cluster} itself, which is among the limits (L{wsproxy.command.table.limits})."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsproxy.command.kinds import ON
from wsproxy.command.option import Need, Option

__all__ = ["CLUSTER"]


def _isThere(given: Mapping[str, Any]) -> bool:
    return "cluster" in given


CLUSTER = (
    Option(
        "cluster-required", "cluster.required", ON,
        "Answer new clients 503 while the Redis of --cluster is away. Default: they are let in, and counted by this "
        "node alone.",
        needs=(Need(_isThere, "needs --cluster"),),
    ),
)  # fmt: skip
