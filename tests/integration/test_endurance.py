"""
Everything that may happen to a proxy, again and again and all at once, and a table of what held.

C{make soak} has a minute of it (WSPROXY_SOAK=long), C{make soak-hour} an hour (WSPROXY_SOAK=hour), and WSPROXY_SECONDS
any other time. The table is printed, and written to F{.build/soak.txt}.

Two proxies: one with workers, which are killed, replaced, upgraded, and whose parent is killed and started again; and
one that is a single process, lives from the beginning to the end, and is short of descriptors and of room for its
recordings now and then. Clients come, say checksummed blocks and go; who is lost has to have an excuse.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall

from tests.certificates import LOCAL
from tests.integration.bridge import authority, connect, still, trusting
from tests.integration.proxy import Proxy, descriptors, memory
from tests.integration.talkers import Loss, Talker, Tally, pause
from tests.integration.test_crash import CrashTestCase, diskPrefix
from tests.integration.twistd import ROOT
from tests.process.programs import running, until

FORMS = {"long": 60.0, "hour": 3600.0}
SECONDS = float(os.environ.get("WSPROXY_SECONDS") or FORMS.get(os.environ.get("WSPROXY_SOAK", ""), 0))

CROWD = 40
"""Clients of each proxy at any time."""

RETURNING = 200
"""Those who come at once."""

LIFE = 12.0
"""Seconds that a session lasts at most."""

REST = 0.3
"""Seconds between two blocks of a session, on average."""

SHORT = 2.0
"""Seconds without descriptors, or without room."""

PAUSE = 5.0
"""Seconds that no echo may take longer than the slowest one without a proxy: the machine has other things to do."""

LEFT = 4 << 20
"""
Bytes that the second half may leave behind. The most that there was at a time stays taken, 1 MiB at a time; what is
never given back would go on growing.
"""

LOOK = 0.25
"""Seconds between two looks at the logs."""

DISK = 4 << 20
TABLE = ROOT / ".build" / "soak.txt"


@dataclass
class Excuse:
    """
    Why clients may be lost.

    @ivar began: since when; C{ended}: until when. Who was on the way in meanwhile may be lost.
    @ivar there: sessions may be, too.
    @ivar worker: only those of this one; all where L{None}.
    """

    began: float
    ended: float = float("inf")
    worker: int | None = None
    there: bool = True

    def covers(self, loss: Loss, worker: int | None) -> bool:
        """@param worker: who served it, as far as the log knows."""
        if loss.ended < self.began or loss.began > self.ended:
            return False
        if not loss.served:
            return True  # it was on its way in
        if not self.there or self.worker is None:
            return self.there
        # what a worker has logged last is lost with it, and who had just come has no line yet
        return worker == self.worker or (worker is None and self.began - loss.began < 1)


@dataclass
class Subject:
    """
    A proxy that is put to the test.

    @ivar port: where it listens, whatever becomes of it.
    @ivar since: how many lines of its log are about workers of the code before, or of the parent before.
    """

    proxy: Proxy
    port: int
    tally: Tally = field(default_factory=Tally)
    excuses: list[Excuse] = field(default_factory=list)
    since: int = 0
    servers: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    looked: int = 0
    tracebacks: int = 0

    def look(self) -> None:
        """Read on in the log: whom does which worker serve?"""
        lines = self.proxy.lines
        for line in lines[self.looked :]:
            self.tracebacks += "Traceback" in line
            found = re.search(r"worker (\d+): [0-9a-f]{8} 127\.0\.0\.1:(\d+) → ", line)
            if found is not None:
                self.servers.setdefault(int(found[2]), []).append((time.monotonic(), int(found[1])))
        self.looked = len(lines)

    def server(self, loss: Loss) -> int | None:
        """Ports are used again: it is told by the time."""
        seen = self.servers.get(loss.port, ())
        return next((worker for when, worker in seen if loss.began <= when <= loss.ended + 2 * LOOK), None)

    def unexcused(self) -> Iterator[Loss]:
        self.look()
        for loss in self.tally.losses:
            if not any(excuse.covers(loss, self.server(loss)) for excuse in self.excuses):
                yield loss

    def near(self, loss: Loss) -> list[Excuse]:
        """What happened about that time."""
        return [each for each in self.excuses if each.ended > loss.began - 3 and each.began < loss.ended + 3]

    def workers(self) -> dict[int, int]:
        """Processes that take clients, by their numbers."""
        found = [re.search(r"worker (\d+) started as process (\d+)", line) for line in self.proxy.lines[self.since :]]
        return {int(each[1]): int(each[2]) for each in found if each is not None}


class EnduranceTests(CrashTestCase):
    timeout = SECONDS + 300

    def setUp(self) -> None:
        if not SECONDS:
            raise SkipTest("takes long: WSPROXY_SOAK=long has a minute of it, WSPROXY_SOAK=hour an hour")
        super().setUp()
        self.random = Random(1)
        self.counts: dict[str, int] = {}
        self.slowest: dict[str, float] = {}
        self.straight = 0.0
        self.numbers = iter(range(1 << 30))
        self.certificate = self.folder() / "cert.pem"
        self.renew()

    def renew(self) -> None:
        self.certificate.write_bytes(authority().issue(*LOCAL).both)

    def count(self, what: str, seconds: float = 0.0) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self.slowest[what] = max(self.slowest.get(what, 0.0), seconds)

    async def begin(self, *words: str, port: int = 0, prefix: tuple[str, ...] = ()) -> Proxy:
        words = ("--target", self.echoing.target, "--cert", str(self.certificate), *words)
        proxy = Proxy(self.folder(), *words, listen=("--listen", f"127.0.0.1:{port}"), prefix=prefix)
        self.addCleanup(proxy.kill)
        await proxy.said("Room for")
        if "--workers" in words:
            await proxy.said(r"worker \d+ is up", 2)
        return proxy

    async def test_everything(self) -> None:
        """Whoever has no reason to be lost is not, and nothing is left behind."""
        workers = await self.begin("--workers", "2")
        self.many = Subject(workers, await self._port(workers))
        keep = ("--record", "disk/it", "--record-keep", "20", "--record-max-size", "65536")
        alone = await self.begin(*keep, prefix=diskPrefix(DISK))
        self.one = Subject(alone, await self._port(alone))
        looking = LoopingCall(self.look)
        looking.start(LOOK)
        self.addCleanup(looking.stop)
        over = time.monotonic() + SECONDS
        for _ in range(2):  # the second from when all has been seen once
            crowds = self.crowds()
            await self.round()
            await self.quiet(crowds)
            before = [descriptors(alone.pid), memory(alone.pid)]
            if SECONDS < 100:
                break
        crowds = self.crowds()
        half = time.monotonic() + (over - time.monotonic()) / 2
        await self.round()
        while time.monotonic() < half:
            await self.round()
        atHalf = memory(alone.pid)
        while time.monotonic() < over:
            await self.round()
        await self.quiet(crowds)
        now = memory(alone.pid)
        left = [descriptors(alone.pid) - before[0], now - before[1], now - atHalf]
        await self.tell(over, left)

    async def _port(self, proxy: Proxy) -> int:
        return int((await proxy.said(r"Listening on 127\.0\.0\.1:(\d+)"))[0][1])

    def crowds(self) -> Deferred[Any]:
        self.over = False
        crowd = [self.keepComing(subject) for subject in (self.many, self.one) for _ in range(CROWD)]
        return gatherResults([Deferred.fromCoroutine(each) for each in (*crowd, self.goStraight())])

    async def goStraight(self) -> None:
        """To the echo, to see how much the machine delays."""
        stream = connect(int(self.echoing.target.rpartition(":")[2]))
        while not self.over:
            began = time.monotonic()
            stream.write(b"hello")
            await stream.exactly(5)
            self.straight = max(self.straight, time.monotonic() - began)
            await pause(0.05)
        stream.reset()

    async def keepComing(self, subject: Subject) -> None:
        """One client after the other."""
        while not self.over:
            number = next(self.numbers)
            leave = time.monotonic() + self.random.uniform(0, LIFE)
            talker = Talker(subject.tally, number, subject.port, trusting() if number % 2 else None, REST)
            before = len(subject.tally.losses)
            await talker.talk(lambda leave=leave: self.over or time.monotonic() > leave)
            if len(subject.tally.losses) > before:
                await pause(0.2)

    def look(self) -> None:
        self.many.look()
        self.one.look()

    async def quiet(self, crowds: Deferred[Any]) -> None:
        """Everybody leaves, and what is over is gone."""
        self.over = True
        await crowds
        await still(lambda: descriptors(self.one.proxy.pid))
        self.look()

    async def round(self) -> None:
        """All that may happen, once."""
        await gatherResults(
            [Deferred.fromCoroutine(self.roundOfWorkers()), Deferred.fromCoroutine(self.roundOfOne())]
        )

    async def roundOfWorkers(self) -> None:
        await self.reload(self.many)
        await self.kill()
        await self.comeAtOnce(self.many)
        await self.upgrade()
        await self.reload(self.many)
        await self.kill()
        await self.restart()

    async def roundOfOne(self) -> None:
        await self.reload(self.one)
        await self.withoutDescriptors()
        await self.comeAtOnce(self.one)
        await self.withoutRoom()

    async def reload(self, subject: Subject) -> None:
        self.renew()
        subject.proxy.signal(signal.SIGHUP)
        self.count("reloads")
        await pause(1)

    async def kill(self) -> None:
        """A worker."""
        self.many.look()
        number, pid = self.random.choice([*self.many.workers().items()])
        since = len(self.many.proxy.lines)
        began = time.monotonic()
        self.many.excuses.append(Excuse(began, began + 0.1, number))
        os.kill(pid, signal.SIGKILL)
        await self.many.proxy.said(rf"worker {number} is up", 1, since)
        self.count("workers killed", time.monotonic() - began)

    async def upgrade(self) -> None:
        """The same code once more. Sessions of the code before go on."""
        proxy = self.many.proxy
        since = len(proxy.lines)
        began = time.monotonic()
        proxy.signal(signal.SIGUSR2)
        await proxy.said("This is the new version", 1, since)
        await proxy.said(r"worker \d+ is up", 2, since)
        await proxy.said(r"worker \d+: makes room for another version", 2, since)
        self.many.since = since
        self.count("upgrades", time.monotonic() - began)

    async def restart(self) -> None:
        """The parent is killed, and the same command started again."""
        many = self.many
        many.look()
        pids = [int(each[1]) for each in re.finditer(r"started as process (\d+)", "\n".join(many.proxy.lines))]
        excuse = Excuse(time.monotonic())
        many.excuses.append(excuse)
        many.proxy.signal(signal.SIGKILL)
        await many.proxy.end()
        proxy = await self.begin("--workers", "2", port=many.port)
        excuse.ended = time.monotonic()
        self.count("parents killed", excuse.ended - excuse.began)
        await until(lambda: not any(map(running, pids)))
        many.look()
        many.proxy, many.since, many.looked = proxy, 0, 0

    async def comeAtOnce(self, subject: Subject) -> None:
        """All over TLS."""
        tls = trusting()
        began = time.monotonic()
        talkers = [Talker(subject.tally, next(self.numbers), subject.port, tls) for _ in range(RETURNING)]
        await gatherResults([Deferred.fromCoroutine(each.talk(lambda: True)) for each in talkers])
        self.count(f"times that {RETURNING} came at once", time.monotonic() - began)

    async def withoutDescriptors(self) -> None:
        """Nobody can come in, and who is there goes on."""
        pid = self.one.proxy.pid
        excuse = Excuse(time.monotonic(), there=False)
        self.one.excuses.append(excuse)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
        await pause(SHORT)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        excuse.ended = time.monotonic() + 0.5
        self.count("times without descriptors", SHORT)
        await pause(1)

    async def withoutRoom(self) -> None:
        """Nothing can be recorded, and everybody goes on."""
        disk = Path(f"/proc/{self.one.proxy.pid}/root{self.one.proxy.folder}/disk")
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                pass
            await pause(SHORT)
        (disk / "ballast").unlink()
        self.count("times without room on the disk", SHORT)
        await pause(1)

    async def tell(self, over: float, left: list[int]) -> None:
        """Print the table. @raise AssertionError: something has not held."""
        subjects = (self.many, self.one)
        tallies = [each.tally for each in subjects]
        wrongly = [loss for each in subjects for loss in each.unexcused()]
        statuses = [await each.proxy.stop() for each in subjects]
        longest = max(each.longest for each in tallies)
        tracebacks = sum(each.tracebacks for each in subjects)
        rows: list[tuple[str, str, bool]] = [
            (f"seconds, of which {SECONDS:.0f} were asked for", f"{time.monotonic() - over + SECONDS:.0f}", True),
            ("sessions", f"{sum(each.opened for each in tallies):,}", all(each.finished for each in tallies)),
            ("bytes there and back", f"{sum(each.size for each in tallies):,}", True),
            ("blocks that were wrong", f"{sum(each.wrong for each in tallies)}", not any(e.wrong for e in tallies)),
            ("sessions lost with their worker or parent", f"{self.excused(wrongly, True):,}", True),
            ("sessions closed wrongly", f"{sum(e.served for e in wrongly)}", not any(e.served for e in wrongly)),
            ("clients turned away where there was reason", f"{self.excused(wrongly, False):,}", True),
            ("clients turned away wrongly", f"{sum(not e.served for e in wrongly)}", all(e.served for e in wrongly)),
            ("longest from a block to its echo", f"{longest:.2f} s", longest < PAUSE + self.straight),
            ("the same without a proxy", f"{self.straight:.2f} s", True),
            *((what, f"{count}, {self.slowest[what]:.1f} s", True) for what, count in self.counts.items()),
            ("descriptors left behind", f"{left[0]}", left[0] <= 0),
            ("memory left behind", f"{left[1] / 1024:,.0f} KiB", True),
            ("and by the second half", f"{left[2] / 1024:,.0f} KiB", left[2] < LEFT),
            ("tracebacks in the logs", f"{tracebacks}", not tracebacks),
            ("exit statuses", " ".join(map(str, statuses)), statuses == [0, 0]),
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        rule = f"{'=' * widths[0]}  {'=' * widths[1]}  ===="
        lines = [f"{what:<{widths[0]}}  {value:>{widths[1]}}  {'yes' if held else 'NO'}" for what, value, held in rows]
        table = "\n".join([rule, f"{'':<{widths[0]}}  {'':<{widths[1]}}  held", rule, *lines, rule, ""])
        print(f"\n{table}")
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table)
        for loss in wrongly[:20]:
            print(loss, [(each.server(loss), each.near(loss)) for each in subjects if loss in each.tally.losses])
        self.assertEqual([what for what, _, held in rows if not held], [])

    def excused(self, wrongly: list[Loss], served: bool) -> int:
        losses = [*self.many.tally.losses, *self.one.tally.losses]
        return sum(loss.served == served and loss not in wrongly for loss in losses)
