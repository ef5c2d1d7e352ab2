"""What a process tells of its sessions, and which of them it closes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.refusallog import RefusalLog
from wsproxy.admin.desk import CLOSED, Desk, DeskError, checkFilters
from wsproxy.errors import Close
from wsproxy.interfaces import Ending, Identity, Request, Target
from wsproxy.tunnel.relay import Traffic


def session(id: str, client: Any, name: str | None = None, target: str = "demo:", token: str = "") -> Any:
    request = Request("/", {}, client, client, False, queryAll={"token": (token,)} if token else {})
    identity = None if name is None else Identity(name)
    return SimpleNamespace(
        id=id * 32, request=request, identity=identity, target=Target(target), started=1.0, age=2.0, reached=0.1,
        traffic=Traffic(1, 2, 3, 4, 0.5, 1), open=True,
    )  # fmt: skip


class Registry:
    """What L{Desk} needs of the sessions."""

    def __init__(self, clock: Clock, *sessions: Any) -> None:
        self.refusals = RefusalLog(clock)
        self.sessions = [*sessions]
        self.observers: list[Any] = []
        self.revoked: tuple[list[str], str] | None = None
        self.pending: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    def observe(self, observer: Any) -> None:
        self.observers.append(observer)

    def revoke(self, matches: Callable[[Any], bool], reason: str) -> int:
        self.revoked = [each.id[0] for each in self.sessions if matches(each)], reason
        self.refused = [matches(each) for each in self.pending]
        return 0


class DeskTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.registry = Registry(
            clock,
            session("a", IPv4Address("TCP", "192.0.2.7", 1), "alice", token="one"),
            session("b", IPv6Address("TCP", "2001:db8::1", 1), "bob", "h:1", "two"),
            session("c", IPv6Address("TCP", "::ffff:192.0.2.8", 1)),
            session("d", UNIXAddress(b""), "alice"),
        )

        def tokenOf(request: Request) -> str | None:
            return request.query.get("token")

        self.desk = Desk(clock, self.registry, tokenOf, 3, lambda: True)  # type: ignore[arg-type]
        for each in self.registry.sessions:
            for observer in self.registry.observers:
                observer.opened(each)
        self.addCleanup(self.end)

    def end(self) -> None:
        for each in self.registry.sessions:
            for observer in self.registry.observers:
                observer.closed(each, Ending("client", Close(1000), "", 1.0, 1, 2))
        self.assertEqual(self.desk._tokens, {})

    def found(self, **filters: str) -> str:
        return "".join(each["id"][0] for each in self.desk.sessions(**filters))

    def test_filters(self) -> None:
        """Sessions are found by who they are, where they come from, where they lead and their token; by all at once."""
        self.assertEqual(self.found(), "abcd")
        self.assertEqual(self.found(identity="alice"), "ad")
        self.assertEqual(self.found(target="h:1"), "b")
        self.assertEqual(self.found(client="192.0.2.0/24"), "ac")
        self.assertEqual(self.found(client="192.0.2.8"), "c")
        self.assertEqual(self.found(client="unix"), "d")
        self.assertEqual(self.found(client="2001:db8::/32"), "b")
        self.assertEqual(self.found(token="two"), "b")
        self.assertEqual(self.found(id="c" * 32), "c")
        self.assertEqual(self.found(identity="alice", client="unix"), "d")
        self.assertEqual(self.found(token=""), "")

    def test_close(self) -> None:
        """Those are closed, and counted unless that has begun; who is just being decided about is refused."""
        self.registry.sessions[3].open = False
        self.registry.pending = [SimpleNamespace(request=self.registry.sessions[0].request, identity=Identity("alice"))]
        self.assertEqual(self.desk.close(identity="alice"), 1)
        self.assertEqual(self.registry.revoked, (["a", "d"], CLOSED))
        self.assertEqual(self.registry.refused, [True])
        self.desk.close("enough", token="one")
        self.assertEqual((self.registry.revoked, self.registry.refused), ((["a"], "enough"), [True]))

    def test_checked(self) -> None:
        """What can be no session's is said so."""
        checkFilters({"identity": "x", "client": "10.0.0.0/8"})
        self.assertRaises(DeskError, checkFilters, {"client": "10.0.0.1/8"})
        self.assertRaises(DeskError, checkFilters, {"name": "x"})

    def test_told(self) -> None:
        """A session is told with its numbers, and without its token."""
        told = self.desk.sessions(id="a" * 32)[0]
        self.assertNotIn("one", repr(told).replace("'worker': 3", "").replace("None", ""))
        self.assertEqual((told["bytes_up"], told["queued_down"], told["round_trip"]), (1, 4, 0.5))
        self.assertEqual((told["worker"], told["age"], told["connected"]), (3, 2.0, True))
        self.assertEqual(json.loads(f"[{self.desk.listing()}]"), self.desk.sessions())
        self.assertEqual(self.desk.state()["queued"], [0, 0])  # nobody has looked yet
