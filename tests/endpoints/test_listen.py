"""Listening: real sockets on loopback."""

import errno
import os
import socket
import stat
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface.verify import verifyObject

from wsproxy.endpoints.listen import AT_ONCE, BACKLOG, listenError, parseListen
from wsproxy.errors import ConfigError


class Greeter(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class ListenTestCase(TestCase):
    async def listen(self, text: str) -> IListeningPort:
        port = await parseListen(reactor, text).endpoint.listen(Factory.forProtocol(Greeter))
        self.addCleanup(port.stopListening)
        return port

    async def assertTaken(self, text: str) -> None:
        """C{text} cannot be listened on because somebody else does, and the line says so."""
        listen = parseListen(reactor, text)
        try:
            port = await listen.endpoint.listen(Factory.forProtocol(Greeter))
        except CannotListenError as error:
            self.assertEqual(str(listenError(listen, error)), f"--listen {text}: address already in use")
        else:
            await port.stopListening()
            self.fail("listened on a taken address")

    async def bind(self, text: str) -> list[IListeningPort]:
        """All that a value stands for."""
        ports = await parseListen(reactor, text).bind(Factory.forProtocol(Greeter))
        for port in ports:
            self.addCleanup(port.stopListening)
        return ports

    def resolve(self, *addresses: str) -> None:
        """From now on names have these addresses."""

        def getaddrinfo(host: str, port: int, type: int, flags: int) -> list[tuple[Any, ...]]:
            found = [next(iter(real(each, port, type=type, flags=socket.AI_NUMERICHOST))) for each in addresses]
            return [*found, *found]

        real = socket.getaddrinfo
        self.patch(socket, "getaddrinfo", getaddrinfo)

    def client(self, family: int, address: Any) -> socket.socket:
        connection = socket.socket(family)
        self.addCleanup(connection.close)
        connection.settimeout(5)
        connection.connect(address)
        return connection

    def needIPv6(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            raise SkipTest("no IPv6 loopback") from error


class TCPTests(ListenTestCase):
    def test_interface(self) -> None:
        """What is parsed is an endpoint like any other."""
        for text in ("0", "unix:it", "tcp:0"):
            verifyObject(IStreamServerEndpoint, parseListen(reactor, text).endpoint)

    async def test_bothFamilies(self) -> None:
        """A bare port takes IPv6 and IPv4 clients on one socket, on the port that the kernel chose for 0."""
        self.needIPv6()
        port = await self.listen("0")
        number = port.getHost().port
        self.assertNotEqual(number, 0)
        self.client(socket.AF_INET6, ("::1", number))
        self.client(socket.AF_INET, ("127.0.0.1", number))

    async def test_accepts(self) -> None:
        """A client of an adopted socket is served."""
        port = await self.listen("127.0.0.1:0")
        done: Deferred[bytes] = Deferred()

        class Client(Protocol):
            def dataReceived(self, data: bytes) -> None:
                done.callback(data)

        factory = Factory.forProtocol(Client)
        connection = self.client(socket.AF_INET, ("127.0.0.1", port.getHost().port))
        connection.setblocking(False)
        transport = reactor.adoptStreamConnection(connection.fileno(), socket.AF_INET, factory)
        self.assertEqual(await done, b"hello")
        transport.loseConnection()

    async def test_oneFamily(self) -> None:
        """An address in brackets, C{[::]} included, leaves IPv4 alone."""
        self.needIPv6()
        for text in ("[::]:0", "[::1]:0"):
            number = (await self.listen(text)).getHost().port
            self.client(socket.AF_INET6, ("::1", number))
            self.assertRaises(ConnectionRefusedError, self.client, socket.AF_INET, ("127.0.0.1", number))

    async def test_name(self) -> None:
        """A name is resolved when it is listened on, and stands for all its addresses, on one port."""
        self.needIPv6()
        self.resolve("::1", "127.0.0.1")
        first, second = await self.bind("localhost:0")
        number = first.getHost().port
        self.assertEqual(first.getHost(), IPv4Address("TCP", "127.0.0.1", number))
        self.assertEqual(second.getHost().port, number)
        self.client(socket.AF_INET6, ("::1", number))
        self.client(socket.AF_INET, ("127.0.0.1", number))
        await self.assertTaken(f"localhost:{number}")

    async def test_nameWithoutIPv6(self) -> None:
        """An IPv6 address that this machine does not have is left out where there is an IPv4 one."""
        self.resolve("2001:db8::1", "127.0.0.1")
        [port] = await self.bind("somewhere:0")
        self.assertEqual(port.getHost().host, "127.0.0.1")

    async def test_nameHalfTaken(self) -> None:
        """One address that somebody else has is enough for the port to be taken, and the other is not kept."""
        self.needIPv6()
        self.resolve("::1", "127.0.0.1")
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            number = taken.getsockname()[1]
            error = await self.assertFailure(parseListen(reactor, f"localhost:{number}").bind(Factory()), ConfigError)
            self.assertEqual(str(error), f"--listen localhost:{number}: address already in use")
            self.assertRaises(ConnectionRefusedError, self.client, socket.AF_INET, ("127.0.0.1", number))

    def test_plain(self) -> None:
        """What several processes can accept from is known from what does more."""
        for text in ("0", "localhost:0", "unix:it", "tcp:0", "tcp6:0"):
            self.assertTrue(parseListen(reactor, text).isPlain, text)
        self.assertFalse(parseListen(reactor, "haproxy:tcp:0").isPlain)

    async def test_unknownName(self) -> None:
        """A name that does not resolve is one line."""
        listen = parseListen(reactor, "no-such-host.invalid:0")
        error = await self.assertFailure(listen.endpoint.listen(Factory()), CannotListenError)
        line = str(listenError(listen, error))
        self.assertTrue(line.startswith("--listen no-such-host.invalid:0: "), line)
        self.assertNotIn("[Errno", line)

    def test_named(self) -> None:
        """What the system's complaint begins with stays as it is where it is a name."""
        error = listenError(parseListen(reactor, "unix:/it"), OSError("AF_UNIX path too long"))
        self.assertEqual(str(error), "--listen unix:/it: AF_UNIX path too long")

    async def test_taken(self) -> None:
        """A taken port is one line, also where only one address of it is taken, be it IPv4."""
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0")):
            with socket.socket(family) as holder:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                holder.bind((address, 0))
                holder.listen()
                number = holder.getsockname()[1]
                await self.assertTaken(str(number))
                await self.assertTaken(f"127.0.0.1:{number}")
                await self.assertTaken(f"tcp:{number}")

    async def test_restart(self) -> None:
        """A port can be listened on again while connections that its previous listener closed linger."""
        closed: Deferred[None] = Deferred()

        class Closing(Protocol):
            def connectionMade(self) -> None:
                self.transport.loseConnection()

            def connectionLost(self, reason: Any = None) -> None:
                closed.callback(None)

        port = await parseListen(reactor, "127.0.0.1:0").endpoint.listen(Factory.forProtocol(Closing))
        number = port.getHost().port
        self.client(socket.AF_INET, ("127.0.0.1", number))
        await closed
        await port.stopListening()
        self.assertEqual((await self.listen(f"127.0.0.1:{number}")).getHost().port, number)

    async def test_noIPv6(self) -> None:
        """On a machine without IPv6 a bare port listens on every IPv4 address."""
        real = socket.socket

        def withoutIPv6(family: int = -1, *arguments: Any, **keywords: Any) -> socket.socket:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            return real(family, *arguments, **keywords)

        patch = self.patch(socket, "socket", withoutIPv6)
        port = await self.listen("0")
        patch.restore()
        self.assertEqual(port.getHost(), IPv4Address("TCP", "0.0.0.0", port.getHost().port))

    async def test_atOnce(self) -> None:
        """However many have connected, so few are accepted before the event loop has its next turn."""
        for text in ("127.0.0.1:0", "tcp:0:interface=127.0.0.1"):
            factory: Any = Factory.forProtocol(Greeter)
            built: list[object] = []
            factory.buildProtocol = built.append  # which accepts nobody
            [port] = await parseListen(reactor, text).bind(factory)
            self.addCleanup(port.stopListening)
            port.stopReading()  # the turns are the test's
            for _ in range(3 * AT_ONCE):
                self.addCleanup(socket.create_connection(("127.0.0.1", port.getHost().port)).close)
            for turns in (1, 2):
                port.doRead()
                self.assertEqual(len(built), turns * AT_ONCE, text)

    def test_backlog(self) -> None:
        """Twisted's TCP endpoints get our backlog unless the string names one."""
        for text, expected in (
            ("tcp:6080", BACKLOG),
            ("tcp6:6080:interface=\\:\\:1", BACKLOG),
            ("tcp:port=6080:interface=127.0.0.1", BACKLOG),
            ("tcp:6080:backlog=7", 7),
            ("tcp:6080:127.0.0.1:7", 7),
        ):
            endpoint = parseListen(reactor, text).endpoint
            self.assertEqual(int(endpoint._backlog), expected, text)

    def test_port(self) -> None:
        """The TCP port asked for is known without listening, wherever the value names one."""
        for text, expected in (
            ("6080", 6080),
            ("0", 0),
            ("h:6080", 6080),
            ("[::1]:6080", 6080),
            ("tcp:6080:interface=127.0.0.1", 6080),
            ("TCP:interface=127.0.0.1:port=6080", 6080),
            ("unix:/run/it", None),
        ):
            self.assertEqual(parseListen(reactor, text).port, expected, text)


class UNIXTests(ListenTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()  # shorter than mktemp(): a socket's path has 107 bytes
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "listen.sock")

    async def test_mode(self) -> None:
        """A socket file is for owner and group, or for whom the value says; it goes when listening ends."""
        for text, expected in ((f"unix:{self.path}", 0o660), (f"unix:{self.path}:mode=600", 0o600)):
            port = await parseListen(reactor, text).endpoint.listen(Factory.forProtocol(Greeter))
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), expected)
            self.client(socket.AF_UNIX, self.path)
            await port.stopListening()
            self.assertFalse(os.path.exists(self.path))

    def test_path(self) -> None:
        """The path is made absolute; a backslash takes the meaning from a colon in it."""
        for text, path, canonical in (
            ("unix:it", f"{os.getcwd()}/it", f"unix:{os.getcwd()}/it"),
            ("unix:/run/a\\:b:mode=600", "/run/a:b", "unix:/run/a\\:b:mode=600"),
            ("unix:address=/run/a=b", "/run/a=b", "unix:/run/a=b"),
        ):
            listen = parseListen(reactor, text)
            self.assertEqual(listen.path, path)
            self.assertEqual(str(listen), canonical)
            self.assertEqual(parseListen(reactor, canonical).path, path)

    async def test_stale(self) -> None:
        """A socket file whose process is gone is replaced."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
            dead.listen()
        await self.listen(f"unix:{self.path}")
        self.client(socket.AF_UNIX, self.path)

    async def test_taken(self) -> None:
        """A socket file that somebody listens on is taken, and theirs afterwards, busy as they may be."""
        with socket.socket(socket.AF_UNIX) as holder:
            holder.bind(self.path)
            holder.listen(0)
            self.client(socket.AF_UNIX, self.path)
            await self.assertTaken(f"unix:{self.path}")
            holder.listen(10)
            await self.assertTaken(f"unix:{self.path}")
            self.client(socket.AF_UNIX, self.path)

    async def test_ordinaryFile(self) -> None:
        """A file that is not a socket is taken, and left alone."""
        with open(self.path, "w") as file:
            file.write("precious")
        await self.assertTaken(f"unix:{self.path}")
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")


class BadTests(TestCase):
    def test_oneLine(self) -> None:
        """What cannot be listened on is refused in one line: the option, the value and the reason."""
        for text, reason in (
            ("", "expected"),
            ("port", "expected"),
            (":6080", "expected"),
            ("::1:6080", "expected"),
            ("h:", "expected"),
            ("h:-1", "expected"),
            ("h:6080/path", "expected"),
            ("\N{FULLWIDTH DIGIT SIX}080", "expected"),
            ("65536", "a port is at most 65535"),
            ("h:65536", "a port is at most 65535"),
            ("[h]:6080", "only an IPv6 address goes in brackets"),
            ("unix:", "expected unix:PATH"),
            ("unix:/run/it:mode=rw", "invalid literal"),
            ("unix:/run/it:owner=me", "a socket file takes mode, backlog and lockfile"),
            ("tcp:http", "invalid literal"),
            ("tcp", "expected"),
            ("systemd:domain=INET", "Specify exactly one"),
        ):
            error = self.assertRaises(ConfigError, parseListen, reactor, text)
            self.assertTrue(str(error).startswith(f"--listen {text}: {reason}"), str(error))
        error = self.assertRaises(ConfigError, parseListen, reactor, "two\nlines")
        self.assertNotIn("\n", str(error))
