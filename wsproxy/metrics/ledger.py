"""What several processes have counted, those included that are no more."""

from __future__ import annotations

from collections.abc import Hashable
from functools import reduce
from typing import Any

from wsproxy.metrics.counts import abandoned, added, nothing

__all__ = ["Ledger"]


class Ledger:
    """Keeps the newest snapshot of each process that counts; each of them contains those before."""

    def __init__(self) -> None:
        self._past = nothing()
        self._newest: dict[Hashable, dict[str, Any]] = {}

    def enter(self, process: Hashable, snapshot: dict[str, Any]) -> None:
        """@param process: which one it is; another one after it is another."""
        self._newest[process] = snapshot

    def close(self, process: Hashable) -> None:
        """
        It is no more: what it has counted stays, as of its last snapshot. Sessions that had not ended then have ended
        with it.
        """
        last = self._newest.pop(process, None)
        if last is not None:
            self._past = added(added(self._past, last), abandoned(last))

    def resume(self, past: dict[str, Any]) -> None:
        """Besides, this was counted before."""
        self._past = added(self._past, past)

    @property
    def past(self) -> dict[str, Any]:
        """What those have counted who are no more."""
        return self._past

    @property
    def total(self) -> dict[str, Any]:
        """All of it."""
        return reduce(added, self._newest.values(), self._past)
