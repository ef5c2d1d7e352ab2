"""What is dialled is what was looked at: real sockets on loopback, names that lead where they like."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.dialling.test_dial import DialTestCase, ServerFactory
from tests.dialling.test_eyeballs import Resolver
from wsproxy.access.reach import Reach
from wsproxy.dialling.dial import Dialer, DialError
from wsproxy.dialling.held import heldSocket
from wsproxy.errors import NotAllowed
from wsproxy.interfaces import Target
from wsproxy.testing import makeSession


class Rebinding(Resolver):
    """Another answer each time: that of an attacker's name server, with a lifetime of 0."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = [*answers]

    def resolveHostName(self, resolutionReceiver: IResolutionReceiver, *details: Any, **more: Any) -> Any:
        self.hosts = (self.answers.pop(0),)
        return super().resolveHostName(resolutionReceiver, *details, **more)


@implementer(IHostnameResolver, IHostResolution)
class Mute:
    """Never answers."""

    name = ""
    cancelled = False

    def resolveHostName(self, resolutionReceiver: IResolutionReceiver, *details: Any, **more: Any) -> Any:
        resolutionReceiver.resolutionBegan(self)
        return self

    def cancel(self) -> None:
        self.cancelled = True


class ReachTestCase(DialTestCase):
    def dialWithin(self, text: str, reach: Reach, sockets: bool = False, **settings: Any) -> Deferred[Any]:
        dialer = Dialer(reactor, connectTimeout=10, reach=reach, **settings)
        return dialer.dial(makeSession(Target(text, sockets=sockets)), self.client)

    async def assertNotAllowed(self, text: str, reach: Reach, sockets: bool = False, **settings: Any) -> DialError:
        error = await self.assertFailure(self.dialWithin(text, reach, sockets, **settings), DialError)
        self.assertEqual(str(error), "Target not allowed")
        self.assertEqual(self.client.built, [])
        return error

    async def assertReaches(self, text: str, reach: Reach, **settings: Any) -> None:
        protocol = await self.dialWithin(text, reach, **settings)
        protocol.transport.abortConnection()
        await protocol.lost


class AddressTests(ReachTestCase):
    async def test_literal(self) -> None:
        """An address that is not allowed is not connected to, and one that is, is."""
        port = self.listen()
        await self.assertNotAllowed(f"127.0.0.1:{port}", Reach(deny=["127.0.0.0/8"]))
        await self.assertNotAllowed(f"0.0.0.0:{port}", Reach(deny=["127.0.0.0/8"]))
        await self.assertNotAllowed(f"[::ffff:127.0.0.1]:{port}", Reach(deny=["127.0.0.0/8"]))
        self.assertFalse(self.server.accepted.called)
        await self.assertReaches(f"127.0.0.1:{port}", Reach(allow=[f"127.0.0.1:{port}"]))

    async def test_name(self) -> None:
        """Of a name it is the addresses that count: here of the one that DNS says is a metadata service."""
        port = self.listen()
        resolver = Resolver("169.254.169.254")
        error = await self.assertNotAllowed(f"inside.example:{port}", Reach(), nameResolver=resolver)
        cause = error.__cause__
        assert isinstance(cause, ExceptionGroup)
        [first] = cause.exceptions
        assert isinstance(first, NotAllowed)
        self.assertIn("169.254.169.254", first.cause)

    async def test_several(self) -> None:
        """Addresses of a name that are not allowed are skipped."""
        port = self.listen()
        resolver = Resolver("10.0.0.1", "fe80::1", "127.0.0.1")
        await self.assertReaches(f"name.example:{port}", Reach(allow=["127.0.0.1"]), nameResolver=resolver)

    async def test_refusedCounts(self) -> None:
        """Where one address is not allowed and another refuses, the client reads of the one that is there."""
        port = self.listen()
        resolver = Resolver("10.0.0.1", "127.0.0.2")
        dialled = self.dialWithin(f"name.example:{port}", Reach(allow=["127.0.0.2"]), nameResolver=resolver)
        error = await self.assertFailure(dialled, DialError)
        self.assertEqual(str(error), "Target refused the connection")

    async def test_rebinding(self) -> None:
        """
        A name that leads elsewhere each time it is asked for is asked for once: it is the answer that is looked at
        which is connected to.
        """
        port = self.listen()
        resolver = Rebinding("127.0.0.1", "10.0.0.1", "127.0.0.1")
        dialer = Dialer(reactor, connectTimeout=10, reach=Reach(allow=["127.0.0.1"]), nameResolver=resolver)
        target = Target(f"name.example:{port}")
        dialer.foresee(target)
        self.assertEqual(resolver.asked, [])
        protocol = await dialer.dial(makeSession(target), self.client)
        protocol.transport.abortConnection()
        await protocol.lost
        self.client.built.clear()
        self.assertEqual(len(resolver.asked), 1)
        dialled = dialer.dial(makeSession(target), self.client)
        self.assertEqual(str(await self.assertFailure(dialled, DialError)), "Target not allowed")
        self.assertEqual(len(resolver.asked), 2)

    async def test_tls(self) -> None:
        """Over TLS it is no different: nobody is shaken hands with."""
        port = self.listen()
        await self.assertNotAllowed(f"tls:127.0.0.1:{port}", Reach(deny=["127.0.0.0/8"]))
        await self.assertNotAllowed(f"127.0.0.1:{port}", Reach(deny=["127.0.0.0/8"]), forceTLS=True)
        resolver = Resolver("127.0.0.1")
        await self.assertNotAllowed(f"tls:a.example:{port}", Reach(deny=["127.0.0.0/8"]), nameResolver=resolver)
        self.assertFalse(self.server.accepted.called)

    async def test_fixed(self) -> None:
        """The operator's own target is exempt."""
        port = self.listen()
        text = f"127.0.0.1:{port}"
        await self.assertReaches(text, Reach(deny=["127.0.0.0/8"]), fixed=text)

    async def test_foreseen(self) -> None:
        """What is known beforehand is told beforehand."""
        dialer = Dialer(reactor, connectTimeout=10, reach=Reach(allow=["10.0.0.0/8:5900"]), fixed="192.0.2.1:1")
        for text in ("192.0.2.1:5900", "10.0.0.1:22", "name.example:22", "unix:/x", "tor:x:1", "tls:192.0.2.1:5900"):
            if text != "tor:x:1":
                self.assertRaises(NotAllowed, dialer.foresee, Target(text, sockets=True))
        for text in ("10.0.0.1:5900", "name.example:5900", "192.0.2.1:1", "demo:", "nonsense", "tcp:10.0.0.1:5900"):
            dialer.foresee(Target(text))
        self.assertRaises(NotAllowed, dialer.foresee, Target("autobahn:tcp\\:10.0.0.1\\:5900"))
        Dialer(reactor, connectTimeout=10).foresee(Target("169.254.169.254:80"))

    async def test_spellings(self) -> None:
        """
        An address that is written in another way, and an endpoint string, are foreseen for what they are; and so they
        are dialled.
        """
        port = self.listen()
        reach = Reach(own=lambda: [IPv4Address("TCP", "127.0.0.1", port)])
        dialer = Dialer(reactor, connectTimeout=10, reach=reach)
        for host in ("2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "017700000001"):
            for text in (f"{host}:{port}", f"tcp:{host}:{port}", f"TCP:host={host}:port={port}", f"ssl:{host}:{port}"):
                self.assertRaises(NotAllowed, dialer.foresee, Target(text))
                await self.assertNotAllowed(text, reach)
        self.assertFalse(self.server.accepted.called)
        self.assertRaises(NotAllowed, dialer.foresee, Target("tcp:169.254.169.254:80"))
        self.assertRaises(NotAllowed, dialer.foresee, Target("ssl:2852039166:80"))
        for text in (f"tcp:localhost:{port}", "tcp:nonsense", "ssl:", "tcp:127.0.0.2:1"):
            dialer.foresee(Target(text))


class StringTests(ReachTestCase):
    async def test_seen(self) -> None:
        """An endpoint string whose connections can be seen is looked at as any target."""
        port = self.listen()
        for text in (f"tcp:127.0.0.1:{port}", f"tcp:host=127.0.0.1:port={port}", f"TCP:localhost:{port}"):
            await self.assertNotAllowed(text, Reach(deny=["127.0.0.0/8", "::1"]))
        self.assertFalse(self.server.accepted.called)
        await self.assertReaches(f"tcp:127.0.0.1:{port}", Reach(allow=["127.0.0.0/8"]))

    async def test_reserved(self) -> None:
        """Without patterns, too, endpoint strings do not lead to metadata."""
        await self.assertNotAllowed("tcp:169.254.169.254:80", Reach())
        await self.assertNotAllowed("tcp:[fe80\\:\\:1]:80".replace("[", "").replace("]", ""), Reach())

    async def test_name(self) -> None:
        """
        The name in one is looked up here, and its addresses are looked at, be there patterns or not: no listener of
        ours and no metadata is behind it; not even the second time, when the name leads elsewhere.
        """
        port = self.listen()
        own = Reach(own=lambda: [IPv4Address("TCP", "0.0.0.0", port)])
        for text in (f"tcp:a.example:{port}", f"ssl:a.example:{port}", f"tcp:host=a.example:port={port}:timeout=3"):
            for reach, address in ((own, "127.0.0.1"), (Reach(), "169.254.169.254"), (Reach(), "100.100.100.200")):
                resolver = Rebinding(address, "127.0.0.1")
                await self.assertNotAllowed(text, reach, nameResolver=resolver)
                self.assertEqual(len(resolver.asked), 1)
        self.assertFalse(self.server.accepted.called)
        resolver = Resolver("10.0.0.1", "::1", "127.0.0.1")
        await self.assertReaches(f"tcp:a.example:{port}", Reach(allow=[f"127.0.0.1:{port}"]), nameResolver=resolver)

    async def test_namedPattern(self) -> None:
        """A pattern of a name is about that in an endpoint string, too."""
        port, resolver = self.listen(), Resolver("127.0.0.1")
        await self.assertReaches(f"tcp:a.example:{port}", Reach(allow=["a.example"]), nameResolver=resolver)

    async def test_nameless(self) -> None:
        """A name without an address is told as any, and one that nobody answers about is given up in time."""
        dialled = self.dialWithin("tcp:a.example:1", Reach(), nameResolver=Resolver())
        self.assertEqual(str(await self.assertFailure(dialled, DialError)), "Target name not found")
        mute = Mute()
        dialer = Dialer(reactor, connectTimeout=0.05, reach=Reach(), nameResolver=mute)
        dialled = dialer.dial(makeSession(Target("tcp:a.example:1")), self.client)
        self.assertEqual(str(await self.assertFailure(dialled, DialError)), "Target timed out")
        self.assertTrue(mute.cancelled)

    async def test_unseen(self) -> None:
        """One that connects by other means is refused beside patterns."""
        port = self.listen()
        for text in (f"autobahn:tcp\\:127.0.0.1\\:{port}:url=ws\\://x", f"ssl:localhost:{port}"):
            await self.assertNotAllowed(text, Reach(allow=["127.0.0.0/8"]))
        self.assertFalse(self.server.accepted.called)


class SocketTests(ReachTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(os.path.realpath(tempfile.mkdtemp()))

    def listenAt(self, name: str) -> ServerFactory:
        server = ServerFactory()
        port = reactor.listenUNIX(str(self.directory / name), server)
        self.addCleanup(port.stopListening)
        return server

    async def test_named(self) -> None:
        """A socket is for who may name one, or of a pattern."""
        server = self.listenAt("a.sock")
        text = f"unix:{self.directory}/a.sock"
        await self.assertNotAllowed(text, Reach())
        self.assertFalse(server.accepted.called)
        await self.assertReaches(text, Reach(), sockets=True)
        self.client.built.clear()
        self.listenAt("b.sock")
        await self.assertReaches(f"unix:{self.directory}/b.sock", Reach(allow=[f"unix:{self.directory}/*"]))

    async def test_link(self) -> None:
        """A link out of the allowed directory is seen for what it leads to."""
        server = self.listenAt("secret.sock")
        (self.directory / "consoles").mkdir()
        (self.directory / "consoles/a.sock").symlink_to("../secret.sock")
        reach = Reach(allow=[f"unix:{self.directory}/consoles/*"])
        for path in ("consoles/a.sock", "consoles/../secret.sock"):
            await self.assertNotAllowed(f"unix:{self.directory}/{path}", reach, sockets=True)
        self.assertFalse(server.accepted.called)

    async def test_gone(self) -> None:
        """A socket that is not there is as unreachable as ever."""
        await self.assertFails("Target unreachable", f"unix:{self.directory}/none", reach=Reach(allow=["unix:/*"]))


class HeldTests(TestCase):
    def test_held(self) -> None:
        """What was looked at is what is connected to, though another takes its path in between."""
        directory = Path(os.path.realpath(tempfile.mkdtemp()))
        listening = {}
        for name in ("right", "wrong"):
            listening[name] = socket.socket(socket.AF_UNIX)
            self.addCleanup(listening[name].close)
            listening[name].bind(str(directory / name))
            listening[name].listen()
            listening[name].setblocking(False)
        (directory / "link").symlink_to("right")
        with heldSocket(str(directory / "link")) as (real, held), socket.socket(socket.AF_UNIX) as client:
            self.assertEqual(real, str(directory / "right"))
            (directory / "link").unlink()
            (directory / "link").symlink_to("wrong")
            (directory / "right").rename(directory / "moved")
            client.connect(held)
            listening["right"].accept()[0].close()
        self.assertRaises(BlockingIOError, listening["wrong"].accept)

    def test_nothing(self) -> None:
        """What is not there cannot be held."""
        self.assertRaises(FileNotFoundError, lambda: heldSocket("/nowhere/at/all").__enter__())
