"""What is said of clients that were turned away."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.refusallog import LINES, PEER_LINES, REMEMBERED, WINDOW, RefusalLog

PEER = IPv4Address("TCP", "192.0.2.1", 4321)


def stranger(number: int) -> IPv4Address:
    return IPv4Address("TCP", f"10.0.{number >> 8}.{number & 255}", 1)


class RefusalLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.refusals = RefusalLog(self.clock)
        self.lines: list[str] = []
        self.event: LogEvent = {}
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))
        self.event = event

    def refuse(self, count: int, peer: IAddress = PEER, reason: str = "No") -> list[str]:
        """Refuse so often. @return: the lines that came of it."""
        self.lines.clear()
        for _ in range(count):
            self.refusals.refused(peer, 403, reason)
        return list(self.lines)

    def test_line(self) -> None:
        """A refusal is one line: who, what the client was told, and what is for the operator alone."""
        self.refusals.refused(PEER, 403, "Origin not allowed", "allow it with --origin")
        self.refusals.refused(PEER, 503, "Server going down")
        self.assertEqual(
            self.lines,
            [
                "192.0.2.1:4321 refused: 403 Origin not allowed: allow it with --origin",
                "192.0.2.1:4321 refused: 503 Server going down",
            ],
        )

    def test_client(self) -> None:
        """Behind a proxy in front it is the client who is named and counted, and the proxy shown."""
        for host in ("10.0.0.1", "10.0.0.2"):
            client = IPv4Address("TCP", host, 0)
            for _ in range(LINES + 1):
                self.refusals.refused(PEER, 403, "No", client=client)
        line = "{} via 192.0.2.1:4321 refused: 403 No"
        self.assertEqual(self.lines, [line.format("10.0.0.1")] * LINES + [line.format("10.0.0.2")] * LINES)
        self.refusals.flush()
        self.assertIn("10.0.0.1 refused: 403 No (1 times more)", self.lines)

    def test_fields(self) -> None:
        """Observers get it in pieces, too."""
        self.refusals.refused(PEER, 403, "No", "allow it")
        fields = {"peer": "192.0.2.1:4321", "status": 403, "reason": "No", "cause": "allow it"}
        self.assertEqual(self.event | fields, self.event)

    def test_oneLine(self) -> None:
        """Whatever a plugin makes its reason and cause of: it is one line of text, and not a long one."""
        self.refusals.refused(PEER, 403, "a\nb{c}", "\x1b[2J{0}" + "x" * 100_000)
        (line,) = self.lines
        self.assertTrue(line.startswith(r"192.0.2.1:4321 refused: 403 a\nb{c}: \x1b[2J{0}xxx"), line)
        self.assertTrue(line.isprintable())
        self.assertLess(len(line), 1000)

    def test_limited(self) -> None:
        """A peer that comes again and again is told of a few times a minute; what was left out is counted."""
        self.assertEqual(len(self.refuse(100)), LINES)
        self.clock.advance(WINDOW)
        said = self.refuse(1)
        left = f"192.0.2.1 refused: 403 No ({100 - LINES} times more)"
        self.assertEqual(said, [left, "192.0.2.1:4321 refused: 403 No"])
        self.assertEqual(self.refuse(LINES - 1), ["192.0.2.1:4321 refused: 403 No"] * (LINES - 1))
        self.assertEqual(self.refuse(1), [])

    def test_whoever(self) -> None:
        """What was left out is told as soon as anybody is refused after the minute."""
        self.refuse(LINES + 3)
        self.clock.advance(WINDOW)
        said = self.refuse(1, UNIXAddress(b""))
        self.assertEqual(said, ["192.0.2.1 refused: 403 No (3 times more)", "unix refused: 403 No"])

    def test_flush(self) -> None:
        """At the end what was left out is told at once; a peer of which everything was told is not repeated."""
        self.refuse(LINES + 3)
        self.refuse(1, reason="Never")
        self.lines.clear()
        self.refusals.flush()
        self.assertEqual(self.lines, ["192.0.2.1 refused: 403 No (3 times more)"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_peers(self) -> None:
        """A peer is an address, whatever its port; of IPv6 a /64, whatever its lower half and its interface."""
        for one, same, other in (
            (PEER, IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.2", 4321)),
            (PEER, IPv6Address("TCP", "::ffff:192.0.2.1", 1), IPv6Address("TCP", "::ffff:192.0.2.3", 1)),
            (
                IPv6Address("TCP", "2001:db8:0:1::1", 1),
                IPv6Address("TCP", "2001:db8:0:1:ffff::2", 1),
                IPv6Address("TCP", "2001:db8:0:2::1", 1),
            ),
            (
                IPv6Address("TCP", "fe80::1%eth0", 1),
                IPv6Address("TCP", "fe80::2", 1, 0, 3),
                IPv6Address("TCP", "fe80:1::1", 1),
            ),
            (UNIXAddress(None), UNIXAddress(b""), UNIXAddress(b"/run/it")),
        ):
            self.refusals = RefusalLog(self.clock)
            self.refuse(LINES, one)
            self.assertEqual(self.refuse(1, same), [], same)
            self.assertEqual(len(self.refuse(1, other)), 1, other)

    def test_reasons(self) -> None:
        """Each reason is counted by itself: what a scanner does hides nobody's mistake."""
        self.refuse(100)
        self.assertEqual(self.refuse(1, reason="Never"), ["192.0.2.1:4321 refused: 403 Never"])

    def test_causes(self) -> None:
        """Not so each cause: a stranger could make up as many as he likes."""
        for number in range(100):
            self.refusals.refused(PEER, 403, "Origin not allowed", f"Origin https://h{number}.example")
        self.assertEqual(len(self.lines), LINES)

    def test_various(self) -> None:
        """Should reasons be made of what strangers send, it is still so many lines for each peer."""
        for number in range(REMEMBERED * 2):
            self.refusals.refused(PEER, 403, f"No {number}")
        self.assertEqual(len(self.lines), PEER_LINES)
        self.assertLess(len(self.refusals._windows), 2 * PEER_LINES)
        self.lines.clear()
        self.refusals.flush()
        left = REMEMBERED * 2 - PEER_LINES
        self.assertEqual(self.lines, [f"192.0.2.1 refused for various reasons ({left} times more)"])

    def test_bounded(self) -> None:
        """Strangers with many addresses make it forget the oldest peers, telling what it left out, not fill memory."""
        self.refuse(LINES + 1)
        self.lines.clear()
        for number in range(REMEMBERED):
            self.refusals.refused(stranger(number), 403, "No")
        self.assertEqual(len(self.lines), REMEMBERED + 1)
        self.assertIn("192.0.2.1 refused: 403 No (1 times more)", self.lines)
        self.assertEqual(len(self.refusals._windows), REMEMBERED)

    def test_full(self) -> None:
        """With as many as it remembers, one that it knows makes it forget nobody."""
        self.refuse(LINES)
        for number in range(REMEMBERED // 2 - 1):
            self.refusals.refused(stranger(number), 403, "No")
        self.assertEqual(self.refuse(100), [])

    def test_note(self) -> None:
        """What is no refusal is told alike, as often as others of its kind."""
        for number in range(LINES + 1):
            self.refusals.note(PEER, "subprotocol", f"offers {number}")
        self.assertEqual(self.lines[-1], f"192.0.2.1:4321 offers {LINES - 1}")
        self.assertEqual(len(self.lines), LINES)
