"""Tokens in a file, or a directory of files, which somebody writes meanwhile."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from threading import Event
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from wsproxy.errors import ConfigError
from wsproxy.interfaces import Target
from wsproxy.tokens.tokenfile import ReadOnlyTokenFile, TokenFile


class Time:
    """The time of day: what the file system says, and as much more as has been waited."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.waited = 0.0

    def now(self) -> float:
        return time.time() + self.waited

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.waited += seconds

    def written(self) -> None:
        """A file has been changed, by the file system's clock: that is now."""
        self.waited = 0.0


class FileTestCase(SynchronousTestCase):
    """A file, and a table of it."""

    kind: Any = TokenFile

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.time = Time()

    def write(self, text: str | bytes, path: Path | None = None) -> None:
        """Truncate it, and write that."""
        (path or self.path).write_bytes(text.encode() if isinstance(text, str) else text)
        self.time.written()

    def replace(self, text: str) -> None:
        """Put another file in its place."""
        other = self.path.with_suffix(".new")
        other.write_text(text)
        other.replace(self.path)
        self.time.written()

    def append(self, text: str) -> None:
        with self.path.open("a") as stream:
            stream.write(text)
        if text:  # to append nothing is to change nothing
            self.time.written()

    def open(self) -> None:
        self.tokens = self.kind(str(self.path), self.time.clock, self.time.now)

    def target(self, token: str) -> str | None:
        """Where it leads now."""
        answer = self.tokens.lookup(token)
        if isinstance(answer, Deferred):
            answer = self.successResultOf(answer)
        assert answer is None or isinstance(answer, Target)
        return None if answer is None else answer.text

    def targets(self, *tokens: str) -> list[str | None]:
        return [self.target(token) for token in tokens]


class TokenFileTests(FileTestCase):
    """A file that changes."""

    def test_added(self) -> None:
        """Lines that were added count at the next request, however they were."""
        self.write("red: h:1\n")
        self.open()
        for number, change in enumerate((self.append, self.write, self.replace) * 10, 2):
            self.assertIsNone(self.target(f"new{number}"))
            change(f"red: h:1\nnew{number}: h:{number}\n")
            self.assertEqual(self.targets("red", f"new{number}"), ["h:1", f"h:{number}"])

    def test_sameSize(self) -> None:
        """A change is seen that leaves the size as it was, and follows on another within a tick of the clock."""
        self.write("red: h:1\n")
        self.open()
        for number in range(200):
            self.write(f"red: h:{number % 9 + 1}\n")
            self.assertEqual(self.target("red"), f"h:{number % 9 + 1}")

    def test_missing(self) -> None:
        """Lines that are gone count until the file has been still for a second, and no longer."""
        for change in (self.write, self.replace):
            self.write("red: h:1\nblue: h:2\n")
            self.open()
            self.time.wait(2)
            change("red: h:1\n")
            self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
            self.time.wait(0.9)
            self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
            self.time.wait(0.2)
            self.assertEqual(self.targets("red", "blue"), ["h:1", None])

    def test_missingSinceLong(self) -> None:
        """A line that was taken out while nobody asked is gone at the first request."""
        self.write("red: h:1\nblue: h:2\n")
        self.open()
        self.write("red: h:1\n")
        self.time.wait(3600)
        self.assertEqual(self.targets("blue", "red"), [None, "h:1"])

    def test_comesAndGoes(self) -> None:
        """A token that was there only between two changes counts as long as one that was there before."""
        self.write("red: h:1\n")
        self.open()
        self.write("red: h:1\nblue: h:2\n")
        self.assertEqual(self.target("blue"), "h:2")
        self.write("red: h:1\n")
        self.time.wait(0.9)
        self.assertEqual(self.target("blue"), "h:2")
        self.time.wait(0.2)
        self.assertIsNone(self.target("blue"))

    def test_changed(self) -> None:
        """A token whose target is another one leads there at the next request, and not back."""
        self.write("red: h:1\n")
        self.open()
        self.time.wait(2)
        self.write("red: h:2\n")
        self.assertEqual(self.target("red"), "h:2")
        self.time.wait(2)
        self.assertEqual(self.target("red"), "h:2")

    def test_changedAtTheEnd(self) -> None:
        """So does one that has a second line."""
        self.write("red: h:1\n")
        self.open()
        self.append("red: h:2\n")
        self.assertEqual(self.target("red"), "h:2")
        self.time.wait(2)
        self.assertEqual(self.target("red"), "h:2")

    def test_halfWritten(self) -> None:
        """A file that is being written never empties the table, wherever the writing has got to."""
        before = "".join(f"token{number}: h:{number}\n" for number in range(1, 30))
        after = "".join(f"token{number}: h:{number}\n" for number in range(1, 31))
        self.write(before)
        self.open()
        self.time.wait(2)
        for length in range(0, len(after), 7):
            self.write(after[:length])
            for number in range(1, 30):
                answer = self.tokens.lookup(f"token{number}")
                if isinstance(answer, Deferred):  # it is just this line that is half there
                    self.assertNoResult(answer)
                    answer.addErrback(lambda _: None).cancel()
                else:
                    self.assertEqual(answer.text, f"h:{number}")
        self.write(after)
        self.assertEqual(self.target("token30"), "h:30")

    def test_staysHalf(self) -> None:
        """One whose writer was killed in the middle of a line takes nothing away, however long; its line is named."""
        self.write("red: 192.0.2.1:1\nblue: 192.0.2.2:2\ngreen: 192.0.2.3:3\n")
        self.open()
        self.time.wait(2)
        with capturedLogs() as events:
            self.write("red: 192.0.2.7:7\nblue: 192.0.")
            for seconds in (0.0, 2.0, 60.0):
                self.time.wait(seconds)
                expected = ["192.0.2.7:7", "192.0.2.2:2", "192.0.2.3:3"]
                self.assertEqual(self.targets("red", "blue", "green"), expected)
        self.assertEqual(sum("line 2" in formatEvent(event) for event in events), 1)
        self.write("red: 192.0.2.7:7\n")
        self.time.wait(2)
        self.assertEqual(self.targets("red", "blue", "green"), ["192.0.2.7:7", None, None])

    def test_halfLine(self) -> None:
        """A line that does not end yet may be half of one: who asks for it is answered when it does."""
        self.write("red: h:1\n")
        self.open()
        self.write("red: h:1\nblue: h:59")
        waiting = self.tokens.lookup("blue")
        self.assertNoResult(waiting)
        self.assertEqual(self.target("red"), "h:1")
        self.append("00\n")
        self.time.wait(0.1)
        self.assertEqual(self.successResultOf(waiting).text, "h:5900")

    def test_lastLine(self) -> None:
        """It is whole when the file has been still for a second, though it does not end at all."""
        self.write("red: h:1\n")
        self.open()
        self.write("red: h:1\nblue: h:59")
        waiting = self.tokens.lookup("blue")
        self.time.wait(0.9)
        self.assertNoResult(waiting)
        self.time.wait(0.2)
        self.assertEqual(self.successResultOf(waiting).text, "h:59")
        self.assertEqual(self.target("blue"), "h:59")

    def test_vanished(self) -> None:
        """A file that has vanished, or become something else, leaves the table as it was, and the log has one line."""
        self.write("red: h:1\n")
        self.open()
        with capturedLogs() as events:
            for vanish in (self.path.unlink, self.path.mkdir, self.path.rmdir, lambda: os.mkfifo(self.path)):
                vanish()
                self.time.wait(100)
                self.assertEqual(self.targets("red", "blue"), ["h:1", None])
        self.assertEqual(len(events), 1, list(map(formatEvent, events)))
        self.assertIn("No such file", formatEvent(events[0]))
        self.path.unlink()
        self.write("blue: h:2\n")
        self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
        self.time.wait(2)
        self.assertEqual(self.targets("red", "blue"), [None, "h:2"])

    def test_emptied(self) -> None:
        """A file that stays empty has no tokens: that is how the last one is taken out."""
        self.write("red: h:1\n")
        self.open()
        self.write("")
        self.assertEqual(self.target("red"), "h:1")
        self.time.wait(2)
        self.assertIsNone(self.target("red"))

    def test_neverStill(self) -> None:
        """Where a file is written all the time, what is gone from it is gone after half a minute."""
        self.write("red: h:1\nblue: h:0\n")
        self.open()
        for number in range(1, 40):
            self.write(f"red: h:1\nnumber: h:{number}\n")
            self.time.clock.advance(0.9)
            self.assertEqual(self.targets("red", "number"), ["h:1", f"h:{number}"])
        self.assertIsNone(self.target("blue"))

    def test_oldTimes(self) -> None:
        """A file with old times, as copies have them that keep those, is new all the same."""
        self.write("red: h:1\n")
        self.open()
        self.time.wait(2)
        status = self.path.stat()
        other = self.path.with_suffix(".new")
        self.write("red: h:2\n", other)
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(self.path)
        self.assertEqual(self.target("red"), "h:2")

    def test_anotherClock(self) -> None:
        """Where the file system's clock is ahead, a file is still that was seen to be so for a second."""
        self.time.waited = -1000.0
        self.path.write_text("red: h:1\n")
        self.open()
        self.path.write_text("blue: h:2\n")
        self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
        self.time.clock.advance(1.1)
        self.assertEqual(self.targets("red", "blue"), [None, "h:2"])

    def test_bytes(self) -> None:
        """Lines end as they do on Windows, too, and what is not UTF-8 spoils its own line and no other."""
        self.write(b"\xef\xbb\xbfred: h:1\r\nbl\xff: h:2\r\ngreen: h:3\r\n\xc3\xa4: h:4\r\n")
        self.open()
        self.assertEqual(self.targets("red", "green", "ä", "bl\udcff"), ["h:1", "h:3", "h:4", None])

    def test_stillGood(self) -> None:
        """A token stays good as long as it would be accepted, and nobody has to ask for it."""
        self.write("red: h:1\nblue: h:2\n")
        self.open()
        self.write("red: h:1\n")
        self.assertTrue(self.tokens.stillGood("blue"))
        self.time.wait(1.1)
        self.assertFalse(self.tokens.stillGood("blue"))
        self.assertTrue(self.tokens.stillGood("red"))
        self.path.unlink()
        self.assertTrue(self.tokens.stillGood("red"))

    def test_sockets(self) -> None:
        """A file of the operator's may name sockets, files and versions of the PROXY protocol."""
        self.write("red: unix_socket:/run/x.sock\nblue: h:1 proxy=v2\n")
        self.open()
        self.assertEqual(self.tokens.lookup("red"), Target("unix:/run/x.sock", sockets=True))
        self.assertEqual(self.tokens.lookup("blue"), Target("h:1", proxyHeader="v2", sockets=True))

    def test_unreadable(self) -> None:
        """What cannot be read at the start is told in one line."""
        error = self.assertRaises(ConfigError, self.open)
        self.assertEqual(str(error), f"--token-source {self.path}: No such file or directory")
        os.mkfifo(self.path)
        error = self.assertRaises(ConfigError, self.open)
        self.assertEqual(str(error), f"--token-source {self.path}: not a regular file")

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["write", "replace", "append", "half", "ask"]),
                st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), max_size=6),
                st.sampled_from([0.0, 0.5, 2.0]),
            ),
            max_size=12,
        )
    )
    @example([("write", {"a": 1}, 0.0), ("write", {}, 0.0), ("append", {}, 0.5), ("append", {}, 0.5)])
    def test_anyOrder(self, steps: list[tuple[str, dict[str, int], float]]) -> None:
        """
        Whoever writes it, and however: what it says counts; what it has not said for a second does not; and what is
        neither is what was last said of it.
        """
        self.write("")
        self.open()
        said: dict[str, str | None] = dict.fromkeys("abcdef")
        for how, entries, pause in steps:
            text = "".join(f"{token}: h:{port}\n" for token, port in entries.items())
            if how == "append":  # of those who are not there: two lines of one token are another story
                there = self.path.read_text()
                self.append("".join(line for line in text.splitlines(True) if line[:2] not in there))
            elif how == "half":
                self.write(text[: len(text) // 14 * 7])
            elif how != "ask":
                getattr(self, how)(text)
            if pause:
                self.time.wait(pause)
            lines = [line.split(": ") for line in self.path.read_text().splitlines()]
            nothing: dict[str, str | None] = dict.fromkeys("abcdef")
            said = {**(nothing if self.time.waited >= 1 else said), **dict(lines)}
            self.assertEqual({token: self.target(token) for token in "abcdef"}, said)


class BadLineTests(FileTestCase):
    """What is said of lines that say nothing."""

    def warnings(self, events: list[LogEvent]) -> list[str]:
        return [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]

    def test_once(self) -> None:
        """A bad line names its number, once, however often the file is read; and never what it holds."""
        with capturedLogs() as events:
            self.write("red: h:1\nsecret\nblue: h:2\n")
            self.open()
            for _ in range(3):
                self.time.wait(2)
                self.target("red")
                self.append("# more\n")
                self.target("red")
        [line] = self.warnings(events)
        self.assertIn(f"{self.path}, line 2: ", line)
        self.assertNotIn("secret", line)

    def test_again(self) -> None:
        """Another bad line is named when it comes, as is one that was good meanwhile."""
        self.write("red: h:1\n")
        self.open()
        for text, number in (("red: h:1\nbad\n", 2), ("red: h:1\n", 0), ("bad\nred: h:1\n", 1), ("worse\nbad\n", 1)):
            with capturedLogs() as events:
                self.write(text)
                self.target("red")
                self.time.wait(2)
                self.target("red")
            self.assertEqual([f"line {number}: " in line for line in self.warnings(events)], [True] * bool(number))

    def test_many(self) -> None:
        """Of many the first are named, and the rest counted."""
        for late in (False, True):
            self.write("" if late else "bad\n" * 500 + "\n".join(map(str, range(500))))
            with capturedLogs() as events:
                self.open()
                if late:
                    self.write("".join(f"{number}\n" for number in range(1000)))
                    self.target("red")
            lines = self.warnings(events)
            self.assertEqual(len(lines), 11)
            self.assertIn("line 10: ", lines[9])

    def test_halfLine(self) -> None:
        """A line that is only half there is not a bad one yet."""
        self.write("red: h:1\n")
        self.open()
        with capturedLogs() as events:
            self.write("red: h:1\nblue: ")
            self.target("red")
            self.append("h:2\n")
            self.target("red")
        self.assertEqual(self.warnings(events), [])


class ReadOnlyTests(FileTestCase):
    """A file that is read once."""

    kind = ReadOnlyTokenFile

    def test_once(self) -> None:
        """What it says at the start is what counts, for good."""
        self.write("red: h:1\n")
        self.open()
        self.write("red: h:2\nblue: h:1\n")
        self.time.wait(100)
        self.assertEqual(self.targets("red", "blue"), ["h:1", None])
        self.assertTrue(self.tokens.stillGood("red"))


class DirectoryTests(FileTestCase):
    """A directory of files."""

    def setUp(self) -> None:
        super().setUp()
        self.path.mkdir()
        self.write("red: h:1\n", self.path / "one")
        self.write("blue: h:2\n", self.path / "two")
        self.open()

    def test_all(self) -> None:
        """Each file of it counts."""
        self.assertEqual(self.targets("red", "blue", "green"), ["h:1", "h:2", None])

    def test_added(self) -> None:
        """A file that is new, or a line in one of them, counts at the next request."""
        for number in range(1, 20):
            self.assertIsNone(self.target(f"file{number}"))
            self.write(f"file{number}: h:{number}\n", self.path / f"file{number}")
            self.write(f"red: h:1\nline{number}: h:{number}\n", self.path / "one")
            self.assertEqual(self.targets(f"file{number}", f"line{number}"), [f"h:{number}"] * 2)

    def test_removed(self) -> None:
        """A file that is gone counts until the directory has been still for a second."""
        self.time.wait(2)
        self.target("red")
        (self.path / "two").unlink()
        self.time.written()
        self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
        self.time.wait(1.1)
        self.assertEqual(self.targets("red", "blue"), ["h:1", None])

    def test_vanished(self) -> None:
        """A directory that has vanished leaves the table as it was."""
        with capturedLogs() as events:
            self.path.rename(self.path.with_suffix(".old"))
            self.time.wait(100)
            self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
            self.assertEqual(self.targets("red", "blue"), ["h:1", "h:2"])
        self.assertEqual(len(events), 1)

    def test_moved(self) -> None:
        """A token that moves from one file to another leads where the new one says at once."""
        self.time.wait(2)
        self.target("red")
        for old, new, port in (("one", "two", 7), ("two", "one", 8)):
            self.write("", self.path / old)
            self.write(f"red: h:{port}\n", self.path / new)
            self.assertEqual(self.target("red"), f"h:{port}")
            self.time.wait(2)
            self.assertEqual(self.target("red"), f"h:{port}")

    def test_passedOver(self) -> None:
        """What editors and Kubernetes leave beside them is passed over, and a link to a file is one."""
        for name in (".one.swp", "one~", "..data"):
            self.write(f"{name}: h:1\n", self.path / name)
        (self.path / "directory").mkdir()
        os.mkfifo(self.path / "fifo")
        (self.path / "linked").symlink_to(self.path / "..data")
        (self.path / "broken").symlink_to("nowhere")
        self.assertEqual(self.targets(".one.swp", "one~"), [None, None])
        self.assertEqual(self.targets("..data", "red"), ["h:1", "h:1"])

    def test_unreadable(self) -> None:
        """A file among them that cannot be read at the start is named."""
        if not os.geteuid():
            os.mkfifo(self.path / "fifo")  # is none; and root reads everything
            self.open()
            return
        (self.path / "one").chmod(0)
        error = self.assertRaises(ConfigError, self.open)
        self.assertEqual(str(error), f"--token-source {self.path / 'one'}: Permission denied")


class WriterTests(TestCase):
    """An application that writes the file all the time, in another thread."""

    async def test_everyWay(self) -> None:
        """
        Whoever is in the file before and after is found in between, and never led to half of a port, however it is
        written: truncated and filled bit by bit, renamed in place, or appended to.
        """
        path = Path(self.mktemp()).absolute()
        lines = [f"token{number}: h:{5000 + number}\n" for number in range(800)]
        path.write_text("".join(lines))
        tokens = TokenFile(str(path), reactor)
        ending = Event()
        writing = deferToThread(self.write, path, lines, ending)
        chance, asked = random.Random(1), 0
        until = reactor.seconds() + 2
        while reactor.seconds() < until:
            number = chance.randrange(800)
            answer = tokens.lookup(f"token{number}")
            target = await answer if isinstance(answer, Deferred) else answer
            self.assertEqual(str(target), f"h:{5000 + number}")
            asked += 1
            if not asked % 20:
                await deferLater(reactor, 0)
        ending.set()
        rounds = await writing
        self.assertGreater(min(asked, rounds), 20)

    def write(self, path: Path, lines: list[str], ending: Event) -> int:
        """@return: how many times."""
        rounds = 0
        while not ending.is_set():
            content = "".join([*lines, f"round{rounds}: h:1\n"])
            way = rounds % 3
            if way == 0:
                with path.open("wb", buffering=0) as stream:
                    for start in range(0, len(content), 1009):  # within a line, mostly
                        stream.write(content[start : start + 1009].encode())
                        time.sleep(0.0005)
            elif way == 1:
                other = path.with_suffix(".new")
                other.write_text(content)
                other.replace(path)
            else:
                with path.open("a") as stream:
                    stream.write("# more\n")
            rounds += 1
            time.sleep(0.002)
        return rounds


class LongFileTests(TestCase):
    """A file of 100,000 lines."""

    async def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.lines = [f"{random.randbytes(16).hex()}: host{number % 250}.example:5900\n" for number in range(100_000)]
        self.path.write_text("".join(self.lines))
        self.tokens = TokenFile(str(self.path), reactor)

    async def target(self, token: str) -> str | None:
        answer = self.tokens.lookup(token)
        found: Target | None = await answer if isinstance(answer, Deferred) else answer
        return None if found is None else found.text

    def token(self, number: int) -> str:
        return self.lines[number].partition(":")[0]

    async def test_changes(self) -> None:
        """What is new counts at the next request, what is gone a second later, and the reactor never stands still."""
        pauses = self.watchPauses()
        self.assertEqual(await self.target(self.token(99_999)), "host249.example:5900")
        for change in (
            lambda lines: [*lines, "new: h:1\n"],
            lambda lines: ["first: h:1\n", *lines[1:50_000], *lines[50_001:], "last: h:2\n"],
            lambda lines: ["other: h:3\n", *reversed(lines), "end: h:4\n"],
        ):
            await deferToThread(self.path.write_text, "".join(change(self.lines)))
            first, last = (change(self.lines)[index].partition(":")[0] for index in (0, -1))
            found = await gatherResults(
                [Deferred.fromCoroutine(self.target(token)) for token in (first, last, self.token(77_777))]
            )
            self.assertNotIn(None, found)
        await deferLater(reactor, 1.1)
        self.assertEqual([await self.target(token) for token in ("new", "last")], [None, None])
        self.assertEqual([await self.target(token) for token in ("other", "end")], ["h:3", "h:4"])
        self.assertLess(max(pauses()), 0.1)

    async def test_cancelled(self) -> None:
        """Who no longer waits for the file to be read keeps nobody else from it, however it came to that."""
        self.path.write_text("".join(["new: h:1\n", *self.lines]))
        first, second, third = (Deferred.fromCoroutine(self.target("new")) for _ in range(3))
        second.cancel()
        fourth = Deferred.fromCoroutine(self.target("new"))
        first.addCallback(lambda found: (third.cancel(), found)[1])
        self.assertEqual(await first, "h:1")
        self.assertEqual(await fourth, "h:1")
        for cancelled in (second, third):
            await self.assertFailure(cancelled, CancelledError)
        self.assertEqual(await self.target("new"), "h:1")

    def watchPauses(self) -> Any:
        """@return: tells how long the reactor has stood still at a time, in seconds of the processor's time."""
        pauses = [0.0]
        stopped: list[bool] = []

        def turn(since: float) -> None:
            now = time.thread_time()
            pauses.append(now - since)
            if not stopped:
                reactor.callLater(0.001, turn, now)

        turn(time.thread_time())

        def stop() -> list[float]:
            stopped.append(True)
            return pauses

        self.addCleanup(deferLater, reactor, 0.01)
        self.addCleanup(stop)
        return stop
