"""What is measured: the load that is put on each proxy, and the figures that are taken of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.access import AccessMaker, linked, listed, signed

__all__ = ["SCENARIOS", "Figure", "Sample", "Scenario"]


@dataclass(frozen=True)
class Sample:
    """One round of one proxy. Times are in seconds, memory in bytes.

    @ivar units: of work done, as the load generator counts them.
    @ivar processor: processor time of the proxy and all its processes.
    @ivar memory: in use by the proxy, beyond what it used before the first client; of idle scenarios only.
    @ivar before: the C{p99} before clients return, and C{longest} since; C{refused}: how many of those did not come in.
    """

    clients: int
    seconds: float
    units: int = 0
    processor: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    memory: int = 0
    before: float = 0.0
    longest: float = 0.0
    refused: int = 0


@dataclass(frozen=True)
class Figure:
    """A number to compare proxies by."""

    unit: str
    of: Callable[[Sample], float]
    lessIsBetter: bool = False


@dataclass(frozen=True)
class Scenario:
    """
    @ivar load: what the load generator is told: scenario, and size and rate of messages.
    @ivar target: the server behind the proxy.
    @ivar beside: a second load, by one client, for as long as the first lasts.
    @ivar secure: over TLS.
    @ivar framed: counted in messages that mean nothing to a proxy which relays TCP.
    @ivar options: for ours alone, which then runs alone: others have no such thing.
    @ivar access: how clients say where they want to go; alone, likewise.
    @ivar alone: without peers, who would take minutes.
    @ivar atLeast: seconds of a round, where less would tell nothing.
    """

    name: str
    load: str
    clients: int
    figures: tuple[Figure, ...]
    sizes: tuple[int, ...] = ()
    target: str = "echo"
    beside: tuple[str, int] | None = None
    secure: bool = False
    framed: bool = False
    options: tuple[str, ...] = ()
    access: AccessMaker | None = None
    alone: bool = False
    atLeast: float = 0.0


def _perProcessor(sample: Sample) -> float:
    return sample.units / max(sample.processor, 0.001)


_megabytes = (
    Figure("MB/s", lambda sample: sample.units / sample.seconds / 1e6),
    Figure("MB/CPU-s", lambda sample: _perProcessor(sample) / 1e6),
)
_smallMessages = (
    Figure("messages/s", lambda sample: sample.units / 64 / sample.seconds),
    Figure("messages/CPU-s", lambda sample: _perProcessor(sample) / 64),
)
_p99 = Figure("p99, ms", lambda sample: sample.p99 * 1e3, lessIsBetter=True)
_trips = (
    Figure("messages/s", lambda sample: sample.units / sample.seconds),
    Figure("messages/CPU-s", _perProcessor),
    _p99,
)
_age = (Figure("s", lambda sample: sample.p50, lessIsBetter=True),)
_connections = (
    Figure("connections/s", lambda sample: sample.units / sample.seconds),
    Figure("connections/CPU-s", _perProcessor),
)
_return = (
    Figure("s", lambda sample: sample.seconds, lessIsBetter=True),
    Figure("refused", lambda sample: sample.refused, lessIsBetter=True),
    Figure("p99 before, ms", lambda sample: sample.before * 1e3, lessIsBetter=True),
    Figure("p99, ms", lambda sample: sample.p99 * 1e3, lessIsBetter=True),
    Figure("longest, ms", lambda sample: sample.longest * 1e3, lessIsBetter=True),
)
_memory = Figure("KB/session", lambda sample: sample.memory / sample.clients / 1e3, lessIsBetter=True)
_busy = Figure("CPU %", lambda sample: sample.processor / sample.seconds * 100, lessIsBetter=True)
_recorded = ("--record", "recording")
_twoWorkers = ("--workers", "2")
_limits = ("--max-sessions", "10000", "--max-sessions-per-client", "10000")

SCENARIOS = (
    Scenario("down", "down", 1, _megabytes, target="source"),
    Scenario("down, recorded", "down", 1, _megabytes, target="source", options=_recorded),
    Scenario("up, 64 KiB", "up", 1, _megabytes, (65536,), target="sink"),
    Scenario("up, 64 KiB, recorded", "up", 1, _megabytes, (65536,), target="sink", options=_recorded),
    Scenario("up, 4 KiB", "up", 1, _megabytes, (4096,), target="sink"),
    Scenario("up, 64 B", "up", 1, _smallMessages, (64,), target="sink", framed=True),
    Scenario("ping-pong x 50", "echo", 50, _trips, (64,)),
    Scenario("ping-pong x 50, recorded", "echo", 50, _trips, (64,), options=_recorded),
    Scenario("ping-pong x 50, 2 workers", "echo", 50, _trips, (64,), options=_twoWorkers),
    Scenario("connections", "connect", 16, _connections),
    Scenario("connections, limits", "connect", 16, _connections, options=_limits),
    Scenario("connections, 2 workers", "connect", 16, _connections, options=_twoWorkers),
    Scenario("connections, 2 workers, limits", "connect", 16, _connections, options=(*_twoWorkers, *_limits)),
    Scenario("connections, TokenFile", "connect", 16, _connections, access=listed),
    Scenario("connections, JWT of ES256", "connect", 16, _connections, access=signed),
    Scenario("connections, links", "connect", 16, _connections, access=linked),
    Scenario("idle x 400", "idle", 400, (_memory,)),
    Scenario("idle x 9000, heartbeat", "idle", 9000, (_memory, _busy), options=("--heartbeat", "10"), atLeast=10.0),
    Scenario("interactive x 100", "echo", 100, (_p99,), (64, 20)),
    Scenario("interactive x 100, bulk", "echo", 100, (_p99,), (64, 20), beside=("up", 65536)),
    Scenario("5,000 return", "return", 5000, _return, (64, 20), alone=True),
    Scenario("age, 1 MB/s", "age", 1, _age, (1_000_000,), target="clock", atLeast=12.0),
    Scenario("age, 300 KB/s", "age", 1, _age, (300_000,), target="clock", atLeast=12.0),
    Scenario("wss down", "down", 1, _megabytes, target="source", secure=True),
    Scenario("wss up, 32 KiB", "up", 1, _megabytes, (32768,), target="sink", secure=True),
    Scenario("wss ping-pong x 50", "echo", 50, _trips, (64,), secure=True),
    Scenario("wss connections", "connect", 16, _connections, secure=True),
    Scenario("wss idle x 400", "idle", 400, (_memory,), secure=True),
    Scenario("wss, 5,000 return", "return", 5000, _return, (64, 20), secure=True, alone=True),
    Scenario("wss, 5,000 return, 2 workers", "return", 5000, _return, (64, 20), secure=True, options=_twoWorkers),
    Scenario("wss age, 1 MB/s", "age", 1, _age, (1_000_000,), target="clock", secure=True, atLeast=12.0),
    Scenario("wss age, 300 KB/s", "age", 1, _age, (300_000,), target="clock", secure=True, atLeast=12.0),
)
"""In the order of the table."""
