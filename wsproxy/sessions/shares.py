"""What the sessions of an identity have in common: how much they may send, and receive, a second.

::

    alice's first session ──┐                       ┌─► what they send:    a bucket of hers
    alice's second session ─┴─► Shares of "alice" ──┴─► what they receive: another one
    nobody's session            shares nothing, and has no limit of this kind

A bucket is there as long as a session is that draws from it.
"""

from __future__ import annotations

from weakref import WeakValueDictionary

from twisted.internet.interfaces import IReactorTime

from wsproxy.ends.bucket import Bucket

__all__ = ["Shares"]


class Shares:
    """
    @param rate: bytes a second of each identity, in each direction; 0 for no limit.
    """

    def __init__(self, clock: IReactorTime, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._buckets: WeakValueDictionary[tuple[str, bool], Bucket] = WeakValueDictionary()

    def change(self, rate: float) -> None:
        """This holds from now on, also for those who are there."""
        self._rate = rate
        for bucket in self._buckets.values():
            bucket.rate = rate

    def bucket(self, identity: str, up: bool) -> Bucket:
        """@param up: that for what its sessions send; else for what they receive."""
        bucket = self._buckets.get((identity, up))
        if bucket is None:
            bucket = self._buckets[identity, up] = Bucket(self._clock, self._rate)
        return bucket

    def __len__(self) -> int:
        """Buckets that there are."""
        return len(self._buckets)
