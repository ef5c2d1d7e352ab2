"""Who remembers which links were used, and for how long."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.jose.tokens import NOW
from tests.links.links import Hour
from wsproxy.jose.claims import TokenError
from wsproxy.links import once
from wsproxy.links.once import VERB, Asked, Memory, Outcome, Shared, answering
from wsproxy.links.ticket import Ticket, ticketOf


def ticket(name: str = "a", expires: float = NOW + 60, issued: float | None = NOW) -> Ticket:
    return Ticket(name, expires, issued)


class TicketTests(SynchronousTestCase):
    def test_name(self) -> None:
        """The same jti is the same link; without one, the same claims are, in whichever order."""

        def name(**claims: Any) -> str:
            made = ticketOf({"exp": NOW, "once": True, **claims})
            assert made is not None
            return made.name

        self.assertEqual(name(jti="1"), name(jti="1", sub="a"))
        self.assertNotEqual(name(jti="1"), name(jti="2"))
        self.assertEqual(name(a=1, b=2), name(b=2, a=1))
        self.assertNotEqual(name(a=1), name(a=2))
        self.assertEqual(name(jti="", a=1), name(jti="", a=1))
        self.assertEqual(len(name(jti="\ud800")), 32)

    def test_none(self) -> None:
        """A link that is not good once has no ticket; one that does not expire is no link."""
        self.assertIsNone(ticketOf({"exp": NOW}))
        self.assertRaises(TokenError, ticketOf, {"once": True})


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.hour = Hour()
        self.memory = Memory(self.hour)

    def test_once(self) -> None:
        """A ticket is good until it is spent, and pretending does not spend it."""
        outcomes = [self.memory.spend(ticket(), pretend) for pretend in (True, True, False, True, False)]
        self.assertEqual(outcomes, [Outcome.GOOD] * 3 + [Outcome.USED] * 2)

    def test_beforeTheStart(self) -> None:
        """What was made before the memory began may have been used before: it is not taken."""
        self.assertIs(self.memory.spend(ticket(issued=NOW - 0.001), False), Outcome.OLD)
        self.assertIs(self.memory.spend(ticket(issued=None), False), Outcome.UNDATED)
        self.hour.now += 10
        self.assertIs(self.memory.spend(ticket(issued=NOW - 1), False), Outcome.OLD)
        self.assertIs(self.memory.spend(ticket(issued=NOW + 5), False), Outcome.GOOD)

    def test_upgrade(self) -> None:
        """What one memory passes on, another knows: what was used is, what was not is good, and both are forgotten."""
        used, unused = ticket("used"), ticket("unused")
        self.memory.spend(used, False)
        self.hour.now += 10
        new = Memory(self.hour)
        new.resume(json.loads(json.dumps(self.memory.state())))
        self.assertEqual([new.spend(each, False) for each in (used, unused)], [Outcome.USED, Outcome.GOOD])
        self.hour.now += 1_000_000
        new.spend(ticket("later", issued=self.hour.now), True)
        self.assertEqual(len(new), 0)

    def test_restart(self) -> None:
        """Nothing that was used before a restart is good after it, whatever clock its issuer had."""
        for ahead in (-5, 0, 0.5, 5):
            made = ticket(str(ahead), issued=NOW + ahead)
            self.memory.spend(made, False)
            self.hour.now += 1
            restarted = Memory(self.hour)
            self.hour.now += 10
            if self.memory.spend(made, True) is Outcome.USED:
                self.assertIs(restarted.spend(made, False), Outcome.OLD)
            self.hour.now = NOW

    def test_clockSetBack(self) -> None:
        """What was forgotten as expired is not good once more, should the clock be set back."""
        self.memory.spend(ticket(), False)
        self.hour.now += 100
        self.memory.spend(ticket("b", NOW + 200), False)
        self.hour.now -= 100
        self.assertIs(self.memory.spend(ticket(), False), Outcome.UNKNOWN)
        self.assertIs(self.memory.spend(ticket("b", NOW + 200), False), Outcome.USED)

    def test_future(self) -> None:
        """What was made in the future is not good yet."""
        self.assertIs(self.memory.spend(ticket(issued=NOW + 1), False), Outcome.AHEAD)

    def test_forgotten(self) -> None:
        """What has expired is forgotten, whatever the order; what has not is not."""
        for number in range(100):
            self.memory.spend(ticket(str(number), NOW + (number * 37) % 100), False)
        self.hour.now = NOW + 50
        self.memory.spend(ticket("x"), True)
        self.assertEqual(len(self.memory), 49)

    def test_full(self) -> None:
        """There is room for so many; more are not let in, and there is room again when the first expire."""
        self.patch(once, "MOST", 3)
        for number in range(3):
            self.memory.spend(ticket(str(number), NOW + 10 + number), False)
        self.assertIs(self.memory.spend(ticket("x"), False), Outcome.FULL)
        self.assertIs(self.memory.spend(ticket("0", NOW + 10), False), Outcome.USED)
        self.hour.now += 10
        self.assertIs(self.memory.spend(ticket("x"), False), Outcome.GOOD)


class _Parent:
    """Answers so."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def ask(self, verb: str, /, **fields: Any) -> Any:
        assert verb == VERB
        return self._answer(**fields)


class AskedTests(SynchronousTestCase):
    def test_overTheChannel(self) -> None:
        """A worker's question says all that its parent needs, in what JSON can say."""
        parent = answering(Memory(Hour()))
        asked = Asked(_Parent(lambda **fields: parent(None, **json.loads(json.dumps(fields)))))
        outcomes = [self.successResultOf(asked.spend(ticket(), pretend)) for pretend in (True, False, False)]
        self.assertEqual(outcomes, [Outcome.GOOD, Outcome.GOOD, Outcome.USED])

    def test_parentCannotTell(self) -> None:
        """Where the parent's own memory fails, it says so, and no more."""
        parent = answering(Shared(_Nodes(fail(OSError())), Hour()))
        asked = Asked(_Parent(partial(parent, None)))
        self.assertIs(self.successResultOf(asked.spend(ticket(), False)), Outcome.UNKNOWN)

    def test_noAnswer(self) -> None:
        """No answer, or none that makes sense, is a failure."""
        for answer in (fail(OSError()), succeed("YES"), succeed(None), succeed([])):
            asked = Asked(_Parent(lambda answer=answer, **fields: answer))
            self.failureResultOf(asked.spend(ticket(), False))


class _Nodes:
    """Says what Redis would be told."""

    def __init__(self, answer: Any) -> None:
        self.redis = self
        self.told: list[tuple[object, ...]] = []
        self._answer = answer

    def key(self, *names: str) -> str:
        return ":".join(names)

    def hidden(self, secret: str) -> str:
        return f"<{secret}>"

    def execute(self, *words: object) -> Deferred[Any]:
        self.told.append(words)
        return self._answer if isinstance(self._answer, Deferred) else succeed(self._answer)


class SharedTests(SynchronousTestCase):
    def spend(self, answer: Any, pretend: bool = False) -> tuple[Any, tuple[object, ...]]:
        nodes = _Nodes(answer)
        outcome = self.successResultOf(Shared(nodes, Hour()).spend(ticket("a", NOW + 5.5, None), pretend))
        return outcome, nodes.told[0]

    def test_once(self) -> None:
        """One of all nodes is told OK; the name stands there hidden, until no clock takes the link any more."""
        outcome, words = self.spend("OK")
        self.assertEqual((outcome, words), (Outcome.GOOD, ("SET", "once:<a>", "1", "NX", "EX", 66)))
        self.assertIs(self.spend(None)[0], Outcome.USED)
        self.assertIs(self.spend("QUEUED")[0], Outcome.USED)

    def test_pretending(self) -> None:
        """To pretend only looks."""
        self.assertEqual(self.spend(0, True), (Outcome.GOOD, ("EXISTS", "once:<a>")))
        self.assertIs(self.spend(1, True)[0], Outcome.USED)
