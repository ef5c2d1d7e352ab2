"""A cluster at internet scale, on paper: what docs/scale.rst says is printed here.

::

    python -m benchmarks.scale [--sessions N] [--measure]

Costs were measured (see L{Costs}); what follows from them for a million sessions is counted and simulated: how many
nodes, how evenly HAProxy spreads clients over them, and how long a revocation takes, also after Redis was away. What is
random follows from a seed, so that the same numbers come out each time.
"""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

__all__ = ["Costs", "Load", "Node", "balance", "measure", "nodes", "outages", "redis", "report", "revocations"]

SEED = 1


@dataclass(frozen=True)
class Costs:
    """
    Seconds of one core and bytes, measured on a virtual machine of two cores, Python 3.11 and Redis 7.0, while others
    used it, too. C{--measure} measures C{hear} anew.

    @ivar message: to relay one of 64 bytes (make bench).
    @ivar connection: from accept to close, with TLS and a token (make bench).
    @ivar hear: a revocation that concerns nobody here, by a process that has sessions.
    @ivar read: one entry, by the process that follows the log.
    @ivar append: one entry, by Redis, which has it on its disk then; many clients at a time.
    @ivar serve: by Redis, one node that waits for news.
    @ivar roster: by Redis, to note a session and to strike it out; C{count}: to count it for one limit, and no longer;
        C{renew}: to renew that, every 10 s. By its own account (INFO commandstats), without reading and writing.
    @ivar end: to send a session its Close and see it off.
    @ivar session: bytes of an idle one, with its roster entry; C{revoked}: of a revocation, in each process.
    """

    message: float = 12e-6
    connection: float = 2e-3
    hear: float = 5e-6
    read: float = 90e-6
    append: float = 350e-6
    serve: float = 100e-6
    roster: float = 2.4e-6
    count: float = 6.5e-6
    renew: float = 2.7e-6
    end: float = 300e-6
    session: float = 6_300
    revoked: float = 250


@dataclass(frozen=True)
class Load:
    """
    What clients do. Consoles, mostly idle.

    @ivar lifetime: seconds of a session, on average.
    @ivar messages: a second and session, both ways.
    @ivar bytes: a second and session, both ways.
    """

    sessions: int = 1_000_000
    lifetime: float = 1800
    messages: float = 2.0
    bytes: float = 10_000


@dataclass(frozen=True)
class Node:
    """
    A machine of the kind that can be rented anywhere.

    @ivar busy: the share of its cores that is planned with; the rest is for peaks, and for nodes that are gone.
    @ivar network: bytes a second, each way.
    @ivar kernel: bytes of the kernel's for one session: two sockets, what waits in them, TLS.
    """

    cores: int = 8
    busy: float = 0.5
    memory: float = 16e9
    network: float = 10e9 / 8
    kernel: float = 100_000
    descriptors: int = 1_000_000


def nodes(load: Load, node: Node, costs: Costs) -> list[tuple[str, int]]:
    """@return: how many it takes, by what there would not be enough of with fewer."""
    connects = load.sessions / load.lifetime
    seconds = load.sessions * load.messages * costs.message + connects * costs.connection
    storm = load.sessions * costs.connection / 60  # all of them come back within a minute
    needs = [
        ("processors, day by day", seconds / (node.cores * node.busy)),
        ("processors, when all return within a minute", storm / node.cores),
        ("network", load.sessions * load.bytes / (node.network * node.busy)),
        ("memory", load.sessions * (costs.session + node.kernel) / (node.memory * node.busy)),
        ("descriptors", load.sessions * 2 / node.descriptors),
    ]
    return [(what, math.ceil(need)) for what, need in needs]


# How HAProxy spreads clients


def balance(load: Load, count: int, random: Random) -> list[tuple[str, float, float]]:
    """
    @return: by what it goes, the fullest node as a multiple of the mean, and the share of sessions that come to another
        node when one of them is gone, beside those of that.
    """
    size = min(load.sessions, 200_000)
    sources = _sources(size, random)
    tokens = [f"token{number}" for number in range(size)]
    return [
        ("``leastconn``", 1.0, 0.0),
        ("source, ``hash-type consistent``", *_hashed(sources, count)),
        ("token in the path, ``hash-type consistent``", *_hashed(tokens, count)),
    ]


def _sources(size: int, random: Random) -> list[str]:
    """Addresses of clients: few of them have many, providers and companies that translate them (Pareto, 1.1)."""
    found: list[str] = []
    while len(found) < size:
        clients = min(int(random.paretovariate(1.1)), size // 50)
        found += [f"source{len(found)}"] * clients
    return found[:size]


_POINTS = 160
"""On the ring, for each node: HAProxy has 16 for each unit of a weight of 10."""


def _hashed(keys: Sequence[str], count: int) -> tuple[float, float]:
    weights = Counter(keys)
    before = _placed(weights, range(count))
    after = _placed(weights, range(count - 1))
    moved = sum(size for key, size in weights.items() if before[key] != after[key] and before[key] != count - 1)
    loads: Counter[int] = Counter()
    for key, size in weights.items():
        loads[before[key]] += size
    return max(loads.values()) * count / len(keys), moved / len(keys)


def _placed(keys: Counter[str], members: range) -> dict[str, int]:
    ring = sorted((_hash(f"{member}/{point}"), member) for member in members for point in range(_POINTS))
    starts = [start for start, _ in ring]
    return {key: ring[bisect(starts, _hash(key)) % len(ring)][1] for key in keys}


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


# How long a revocation takes


_ORDERS = 5_000


@dataclass(frozen=True)
class Delays:
    """Seconds from the order to the Close of the last session; and the share of a core that revocations take."""

    rate: float
    median: float
    late: float
    worst: float
    share: float


def revocations(count: int, node: Node, costs: Costs, random: Random, rate: float) -> Delays:
    """
    Orders, each of which concerns one session somewhere: Redis has it on its disk and serves one node after the other;
    there, who follows the log tells a worker, which is busy with clients for half of its time.
    """
    delays: list[float] = []
    free = busy = now = 0.0
    for _ in range(_ORDERS):
        now += random.expovariate(rate)
        place = random.random() * count * costs.serve  # of this node in the row of those that wait
        heard = now + costs.append + place + costs.read + _otherwise(node, costs, random)
        free = max(free, heard) + costs.hear
        busy += costs.hear + costs.read / node.cores
        delays.append(free + costs.end - now)
    delays.sort()
    return Delays(rate, _at(delays, 0.5), _at(delays, 0.99), delays[-1], busy / now)


def _otherwise(node: Node, costs: Costs, random: Random) -> float:
    """Until a process that is otherwise busy gets to it: what it does in one go is some dozen messages."""
    return random.expovariate(1 / (50 * costs.message)) if random.random() < node.busy else 0.0


def _at(delays: Sequence[float], share: float) -> float:
    return delays[min(len(delays) - 1, int(share * len(delays)))]


def outages(count: int, costs: Costs, random: Random, missed: int) -> float:
    """@return: seconds from the return of Redis until what was missed meanwhile holds on every node."""
    found = (random.random() * (0.2 + 0.2) for _ in range(count))  # it is looked for, and then asked, every 0.2 s
    each = missed * (costs.read + costs.hear) + costs.end
    return max(moment + place * costs.serve for place, moment in enumerate(found)) + each


def redis(load: Load, costs: Costs) -> list[tuple[str, float]]:
    """@return: the share of its one core that Redis spends, by what for."""
    connects = load.sessions / load.lifetime
    limit = connects * costs.count + load.sessions / 10 * costs.renew
    return [
        ("to show the sessions of all nodes", connects * costs.roster),
        ("one limit for all nodes", limit),
        ("two", 2 * limit),
        ("100 revocations a second", 100 * costs.append),
    ]


# What it costs here


def measure(sessions: int = 10_000) -> Costs:
    """@return: with what it costs to hear of one, on this machine."""
    from twisted.internet.task import Clock

    from wsproxy.cluster.cluster import hiding
    from wsproxy.interfaces import Admitted, Identity
    from wsproxy.nodes.doorman import Doorman
    from wsproxy.nodes.ledger import Ledger
    from wsproxy.nodes.revocation import Revocation
    from wsproxy.nodes.subject import Subjects
    from wsproxy.testing import makeRequest, makeSession

    class Sessions:
        def __init__(self) -> None:
            made = (makeSession(request=makeRequest(f"/{n}"), identity=Identity(f"user{n}")) for n in range(sessions))
            self.there = {session.id: session for session in made}

        def revoke(self, matches: Callable[[Admitted], bool], reason: str, among: Iterable[str]) -> int:
            return len([id for id in among if id in self.there])

    hide = hiding("redis://h?key=k")
    subjects, doorman = Subjects(hide), Doorman(Clock(), hide, Ledger(time.time))
    door = doorman.door(lambda request: request.path)
    there = Sessions()
    doorman.guard(there)
    for session in there.there.values():
        door.opened(session)
    now = time.time()
    orders = [Revocation("jti", subjects.hidden("jti", str(number)), now, now + 60) for number in range(1000)]
    began = time.perf_counter()
    for each in orders:
        doorman.hear([each])
    return Costs(hear=(time.perf_counter() - began) / len(orders))


# All of it


def report(load: Load, node: Node, costs: Costs) -> str:
    """@return: the tables of docs/scale.rst."""
    random = Random(SEED)
    needs = nodes(load, node, costs)
    count = max(need for _, need in needs) + 2
    tables = [
        _table(("there must be enough", "nodes"), [(what, str(need)) for what, need in needs]),
        _table(
            ("clients go by", "fullest node", "moved beside"),
            [(how, f"{most:.2f} of the mean", f"{moved:.1%}") for how, most, moved in balance(load, count, random)],
        ),
        _table(
            ("revocations a second", "median", "99 of 100", "slowest", "of a core"),
            [_delays(revocations(count, node, costs, random, rate)) for rate in (1, 10, 100, 1000)],
        ),
        _table(
            ("missed meanwhile", "known everywhere after"),
            [
                (f"{missed:,}", f"{outages(count, costs, random, missed):.2f} s")
                for missed in (1, 100, 1000, 5000, 50_000)
            ],
        ),
        _table(("Redis has", "of a core"), [(what, f"{share:.1%}") for what, share in redis(load, costs)]),
    ]
    return "\n\n".join(tables)


def _delays(found: Delays) -> tuple[str, ...]:
    times = (f"{1000 * each:.0f} ms" for each in (found.median, found.late, found.worst))
    return (f"{found.rate:.0f}", *times, f"{found.share:.1%}")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    cells = (zip(row, widths, strict=True) for row in (head, *rows))
    lines = ["  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in cells]
    return "\n".join((rule, lines[0], rule, *lines[1:], rule))


def main() -> None:
    """The command line."""
    parser = ArgumentParser(description="A cluster at internet scale, on paper.")
    parser.add_argument("--sessions", type=int, default=Load.sessions)
    parser.add_argument("--measure", action="store_true", help="measure here what it costs to hear of one")
    options = parser.parse_args()
    print(report(Load(options.sessions), Node(), measure() if options.measure else Costs()))


if __name__ == "__main__":
    main()
