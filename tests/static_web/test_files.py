"""Tests of L{wsproxy.static_web.files}: a real Site on a loopback socket, and requests as bytes."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from wsproxy.daemon.threads import Threads
from wsproxy.recording.format import END, HEAD
from wsproxy.static_web.files import StaticFiles
from wsproxy.static_web.webroot import WebRoot

SPARSE_SIZE = 64 * 1024 * 1024
SMALL_BUFFER = 64 * 1024


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


class Client(Protocol):
    """Sends bytes, and keeps what comes back until the connection ends."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.received = b""
        self.closed: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any) -> None:
        self.closed.callback(None)


class DeafClient(Client):
    """Sends its request and never reads."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        super().connectionMade()


class RecordingSite(Site):
    """A Site that shows the transports of its connections."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.transports: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        connect = channel.makeConnection

        def makeConnection(transport: Any) -> None:
            transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            self.transports.append(transport)
            connect(transport)

        channel.makeConnection = makeConnection
        return channel


def parse(received: bytes) -> Response:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Response(int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body)


class FilesTestCase(TestCase):
    async def serve(self, resource: Resource) -> None:
        self.site = RecordingSite(resource)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.site)
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    async def setUp(self) -> None:
        self.top = Path(self.mktemp()).absolute() / "root"
        (self.top / "dir").mkdir(parents=True)
        (self.top / "index.html").write_bytes(b"<p>index</p>")
        (self.top / "dir" / "index.html").write_bytes(b"<p>dir</p>")
        (self.top / "empty").mkdir()
        (self.top / "file.txt").write_bytes(b"0123456789")
        (self.top.parent / "secret").write_bytes(b"secret")
        await self.serve(StaticFiles(str(self.top)))

    async def connect(self, client: Client) -> Client:
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.port), client)
        return client

    async def exchange(self, request: bytes) -> bytes:
        client = await self.connect(Client(request))
        await client.closed
        return client.received

    async def ask(self, target: str, method: str = "GET", **headers: str) -> Response:
        """Send one request, C{target} as it stands; keywords are header fields."""
        lines = [f"{method} {target} HTTP/1.1", "Host: here", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse(await self.exchange("\r\n".join([*lines, "", ""]).encode("latin-1")))

    def opened(self, path: Path) -> list[int]:
        """The descriptors that this process has on C{path}."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{name}") == str(path):
                    found.append(int(name))
            except FileNotFoundError:  # the one that listed them
                continue
        return found

    async def until(self, condition: Any) -> None:
        """Let the reactor turn until C{condition()}; trial's timeout ends what never comes."""
        while not condition():
            await deferLater(reactor, 0.001)


class ResponseTests(FilesTestCase):
    async def test_file(self) -> None:
        """A file comes whole, with its type, length and validators, to be asked for again each time."""
        response = await self.ask("/file.txt")
        self.assertEqual((200, b"0123456789"), (response.status, response.body))
        self.assertEqual("text/plain; charset=utf-8", response.headers["content-type"])
        self.assertEqual("10", response.headers["content-length"])
        self.assertEqual("nosniff", response.headers["x-content-type-options"])
        self.assertEqual("no-cache", response.headers["cache-control"])
        self.assertEqual("bytes", response.headers["accept-ranges"])
        self.assertRegex(response.headers["etag"], r'^"[!-~]+"$')
        self.assertRegex(response.headers["last-modified"], r" GMT$")

    async def test_types(self) -> None:
        """Types go by the extension, in any case, the same on every machine."""
        for name, contentType in (
            ("a.html", "text/html; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.MJS", "text/javascript; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.svg", "image/svg+xml"),
            ("a.woff2", "font/woff2"),
            ("a.js.unknown", "application/octet-stream"),
            ("LICENSE", "application/octet-stream"),
            ("a.\N{SNOWMAN}", "application/octet-stream"),
        ):
            (self.top / name).write_bytes(b"x")
            response = await self.ask("/" + quote(name))
            self.assertEqual((200, contentType), (response.status, response.headers["content-type"]), name)

    async def test_recordings(self) -> None:
        """A recording is a script by what is in it, unless its name says what else it is."""
        (self.top / "vnc.1").write_bytes(HEAD + END)
        (self.top / "whole").write_bytes(HEAD)
        (self.top / "a.txt").write_bytes(HEAD + END)
        (self.top / "cut.2").write_bytes(HEAD[:-1])
        for name, contentType in (
            ("vnc.1", "text/javascript; charset=utf-8"),
            ("whole", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("cut.2", "application/octet-stream"),
        ):
            for method in ("GET", "HEAD"):
                self.assertEqual((await self.ask(f"/{name}", method)).headers["content-type"], contentType)

    async def test_anyTime(self) -> None:
        """A file whose time no HTTP date can tell is served without one."""
        fstat = os.fstat

        class Status:
            def __init__(self, status: os.stat_result, mtime: float) -> None:
                self._status = status
                self.st_mtime = mtime

            def __getattr__(self, name: str) -> Any:
                return getattr(self._status, name)

        for mtime in (2.0**40, 2.0**62, -(2.0**40), -(2.0**62), 253402300800.0):
            with patch.object(os, "fstat", lambda file, mtime=mtime: Status(fstat(file), mtime)):
                response = await self.ask("/file.txt")
                self.assertEqual((200, b"0123456789"), (response.status, response.body), mtime)
                self.assertNotIn("last-modified", response.headers)
                etag = response.headers["etag"]
                for headers in (
                    {"If_None_Match": etag},
                    {"If_Modified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
                    {"If_Range": "Sun, 06 Nov 1994 08:49:37 GMT", "Range": "bytes=1-"},
                ):
                    self.assertIn((await self.ask("/file.txt", **headers)).status, (200, 304))

    async def test_head(self) -> None:
        """HEAD has the headers of GET and no body, for files, indexes, redirects and errors."""
        for target in ("/file.txt", "/", "/dir", "/missing", "/empty/"):
            get, head = await self.ask(target), await self.ask(target, "HEAD")
            for response in (get, head):
                del response.headers["date"]
            self.assertEqual((get.status, get.headers, b""), (head.status, head.headers, head.body))

    async def test_otherMethods(self) -> None:
        """Other methods, known or not, are answered with the two that work, found or not."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            for target in ("/file.txt", "/missing", "/.git"):
                response = await self.ask(target, method)
                self.assertEqual((405, "GET, HEAD"), (response.status, response.headers["allow"]))

    async def test_emptyFile(self) -> None:
        """An empty file is an empty body, whatever range is asked for."""
        (self.top / "nothing.js").write_bytes(b"")
        for headers in ({}, {"Range": "bytes=0-"}):
            response = await self.ask("/nothing.js", **headers)
            self.assertEqual((200, b""), (response.status, response.body))
            self.assertEqual("text/javascript; charset=utf-8", response.headers["content-type"])

    async def test_kept(self) -> None:
        """Several requests on one connection are answered in order, files and errors alike."""
        targets = (b"/file.txt", b"/missing", b"/dir/", b"/file.txt")
        requests = [b"GET %s HTTP/1.1\r\nHost: here\r\n" % target for target in targets]
        received = await self.exchange(b"\r\n".join(requests) + b"Connection: close\r\n\r\n")
        statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
        self.assertEqual([200, 404, 200, 200], statuses)

    async def test_child(self) -> None:
        """Mounted beneath a prefix it serves the same, and its redirects stay beneath the prefix."""
        root = Resource()
        root.putChild(b"wsproxy", StaticFiles(str(self.top)))
        await self.serve(root)
        self.assertEqual(b"0123456789", (await self.ask("/wsproxy/file.txt")).body)
        self.assertEqual(b"<p>index</p>", (await self.ask("/wsproxy/")).body)
        self.assertEqual("./wsproxy/", (await self.ask("/wsproxy")).headers["location"])
        self.assertEqual("./dir/", (await self.ask("/wsproxy/dir")).headers["location"])
        self.assertEqual(404, (await self.ask("/wsproxy/../secret")).status)


class ConditionTests(FilesTestCase):
    async def test_notModified(self) -> None:
        """A client that has the file gets 304 with the validators, and neither a body nor its length."""
        first = await self.ask("/file.txt")
        for headers in (
            {"If_None_Match": first.headers["etag"]},
            {"If_None_Match": "W/" + first.headers["etag"]},
            {"If_Modified_Since": first.headers["last-modified"]},
        ):
            for method in ("GET", "HEAD"):
                response = await self.ask("/file.txt", method, **headers)
                self.assertEqual((304, b""), (response.status, response.body))
                self.assertEqual(first.headers["etag"], response.headers["etag"])
                self.assertEqual("no-cache", response.headers["cache-control"])
                self.assertNotIn("content-length", response.headers)
                self.assertNotIn("content-type", response.headers)

    async def test_repeatedHeader(self) -> None:
        """A condition spread over several header lines is one list."""
        etag = (await self.ask("/file.txt")).headers["etag"]
        response = await self.ask("/file.txt", If_None_Match=f'{etag}\r\nIf-None-Match: "other"')
        self.assertEqual(304, response.status)

    async def test_changedUnderTheSameDateAndSize(self) -> None:
        """A file of a newer package, with the same size and archive date, has another entity tag."""
        path = self.top / "file.txt"
        os.utime(path, (499162500, 499162500))
        before = await self.ask("/file.txt")
        (self.top / "new").write_bytes(b"9876543210")
        os.utime(self.top / "new", (499162500, 499162500))
        (self.top / "new").rename(path)
        date = before.headers["last-modified"]
        after = await self.ask("/file.txt", If_None_Match=before.headers["etag"], If_Modified_Since=date)
        self.assertEqual(date, after.headers["last-modified"])
        self.assertEqual((200, b"9876543210"), (after.status, after.body))

    async def test_preconditionFailed(self) -> None:
        """A condition on an older state fails with 412."""
        response = await self.ask("/file.txt", If_Match='"older"')
        self.assertEqual((412, b"412 Precondition Failed\n"), (response.status, response.body))

    async def test_range(self) -> None:
        """One range is answered with 206, its bytes and its place."""
        for value, place, body in (
            ("bytes=2-4", "bytes 2-4/10", b"234"),
            ("bytes=7-", "bytes 7-9/10", b"789"),
            ("bytes=-2", "bytes 8-9/10", b"89"),
            ("bytes=0-99", "bytes 0-9/10", b"0123456789"),
        ):
            response = await self.ask("/file.txt", Range=value)
            self.assertEqual((206, body), (response.status, response.body))
            self.assertEqual(place, response.headers["content-range"])
            self.assertEqual(str(len(body)), response.headers["content-length"])

    async def test_rangeBeyondTheEnd(self) -> None:
        """A range beyond the end is answered with 416 and the size."""
        response = await self.ask("/file.txt", Range="bytes=10-")
        self.assertEqual((416, "bytes */10"), (response.status, response.headers["content-range"]))

    async def test_wholeFileInsteadOfARange(self) -> None:
        """Several ranges, a range of another state of the file, and a range on HEAD are answered with 200."""
        for method, headers in (
            ("GET", {"Range": "bytes=0-1,4-5"}),
            ("GET", {"Range": "bytes=0-1", "If_Range": '"older"'}),
            ("HEAD", {"Range": "bytes=0-1"}),
        ):
            response = await self.ask("/file.txt", method, **headers)
            self.assertEqual((200, "10"), (response.status, response.headers["content-length"]))

    async def test_ifRange(self) -> None:
        """A range of the state the client has is served."""
        etag = (await self.ask("/file.txt")).headers["etag"]
        self.assertEqual(206, (await self.ask("/file.txt", Range="bytes=0-1", If_Range=etag)).status)


class DirectoryTests(FilesTestCase):
    async def test_index(self) -> None:
        """A directory is its index, under the name that was chosen."""
        self.assertEqual(b"<p>index</p>", (await self.ask("/")).body)
        self.assertEqual(b"<p>dir</p>", (await self.ask("/dir/?autoconnect=1")).body)
        await self.serve(StaticFiles(str(self.top), index="file.txt"))
        response = await self.ask("/")
        self.assertEqual(
            (b"0123456789", "text/plain; charset=utf-8"), (response.body, response.headers["content-type"])
        )
        self.assertEqual(404, (await self.ask("/dir/")).status)

    async def test_noIndex(self) -> None:
        """A directory without an index is not found, and neither is a file with a slash behind it."""
        for target in ("/empty/", "/file.txt/", "/missing/"):
            response = await self.ask(target)
            self.assertEqual((404, b"404 Not Found\n"), (response.status, response.body))

    async def test_doubledSlash(self) -> None:
        """Slashes in front are one: the file or directory is served, though never redirected to."""
        for target, body in (
            ("//file.txt", b"0123456789"),
            ("///dir/index.html", b"<p>dir</p>"),
            ("//", b"<p>index</p>"),
            ("//dir/", b"<p>dir</p>"),
        ):
            response = await self.ask(target)
            self.assertEqual((200, body), (response.status, response.body), target)
        for target in ("//dir", "/dir//index.html", "/dir//", "//..//secret", "//.git"):
            response = await self.ask(target)
            self.assertEqual(404, response.status, target)
            self.assertNotIn("location", response.headers)

    async def test_redirect(self) -> None:
        """A directory without its slash is redirected to with one, relative, with its query."""
        (self.top / "a b:c#?").mkdir()
        for target, location in (
            ("/dir", "./dir/"),
            ("/dir?path=a/b&x=%20", "./dir/?path=a/b&x=%20"),
            ("/%64ir", "./dir/"),
            ("/a%20b%3ac%23%3f", "./a%20b%3Ac%23%3F/"),
        ):
            response = await self.ask(target)
            self.assertEqual((301, location), (response.status, response.headers["location"]))

    async def test_neverToAnotherHost(self) -> None:
        """Nothing that looks like another host is redirected to, even where such directories exist."""
        (self.top / "evil.com" / "dir").mkdir(parents=True)
        (self.top / "http:" / "evil.com").mkdir(parents=True)
        for target in (
            "//evil.com",
            "//evil.com/dir",
            "///evil.com",
            "/%2f%2fevil.com",
            "/%2fevil.com",
            "/\\evil.com",
            "/%5cevil.com",
            "/%5c%5cevil.com/dir",
            "/dir//evil.com",
            "http://evil.com",
            "http://evil.com/dir",
            "xhttp://evil.com",
            "evil.com",
            "\\\\evil.com",
            "/dir/..//evil.com/%2e%2e",
            "*",
        ):
            response = await self.ask(target)
            self.assertNotIn("location", response.headers, target)
            self.assertIn(response.status, (400, 404, 405), target)
        self.assertEqual("./evil.com/", (await self.ask("/evil.com")).headers["location"])

    async def test_listing(self) -> None:
        """Where listings are on, a directory without an index is listed: escaped, quoted, without scripts."""
        await self.serve(StaticFiles(str(self.top), listing=Threads(reactor, 2, "listing")))
        odd = self.top / "empty" / "<a> & b:?"
        odd.mkdir()
        (odd / '"%2f.txt').write_bytes(b"found")
        (odd / ".hidden").write_bytes(b"")
        (odd / "sub").mkdir()
        response = await self.ask("/empty/%3Ca%3E%20%26%20b%3A%3F/")
        self.assertEqual(200, response.status)
        self.assertEqual("text/html; charset=utf-8", response.headers["content-type"])
        self.assertEqual("default-src 'none'", response.headers["content-security-policy"])
        self.assertIn(b"<title>/empty/&lt;a&gt; &amp; b:?/</title>", response.body)
        self.assertIn(b'<a href="./%22%252f.txt">&quot;%2f.txt</a>', response.body)
        self.assertIn(b'<a href="./sub/">sub/</a>', response.body)
        self.assertNotIn(b"hidden", response.body)
        self.assertEqual(b"found", (await self.ask("/empty/%3Ca%3E%20%26%20b%3A%3F/%22%252f.txt")).body)

    async def test_listingOnlyWithoutIndex(self) -> None:
        """An index hides the listing, and what does not exist is not listed."""
        await self.serve(StaticFiles(str(self.top), listing=Threads(reactor, 2, "listing")))
        self.assertEqual(b"<p>dir</p>", (await self.ask("/dir/")).body)
        for target in ("/missing/", "/file.txt/", "/%2e%2e/", "/.git/", "/empty//"):
            self.assertEqual(404, (await self.ask(target)).status, target)


class ListingTests(FilesTestCase):
    """Directories are read in threads: however large one is, everybody else is served."""

    async def setUp(self) -> None:
        await super().setUp()
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.started: list[str] = []
        list_ = WebRoot.list

        def slow(root: WebRoot, segments: Sequence[bytes]) -> list[str]:
            self.started.append(threading.current_thread().name)
            assert self.gate.wait(30)
            return list_(root, segments)

        self.patch(WebRoot, "list", slow)
        await self.serve(StaticFiles(str(self.top), listing=Threads(reactor, 2, "listing")))

    async def test_others(self) -> None:
        """While one is read others are answered."""
        listing = Deferred.fromCoroutine(self.ask("/empty/"))
        await self.until(lambda: self.started)
        self.assertEqual((await self.ask("/file.txt")).body, b"0123456789")
        self.assertNoResult(listing)
        self.gate.set()
        self.assertIn(b"<title>/empty/</title>", (await listing).body)
        self.assertEqual(self.started, ["listing"])

    async def test_oneAtATime(self) -> None:
        """Whoever asks for many on one connection gets them one after the other."""
        requests = b"GET /empty/ HTTP/1.1\r\nHost: here\r\n\r\n" * 60
        client = await self.connect(Client(requests + b"GET /file.txt HTTP/1.0\r\nHost: here\r\n\r\n"))
        await self.until(lambda: self.started)
        self.assertEqual(((await self.ask("/file.txt")).status, len(self.started)), (200, 1))
        self.gate.set()
        await client.closed
        self.assertEqual((len(self.started), client.received.count(b"<title>/empty/</title>")), (60, 60))
        self.assertTrue(client.received.endswith(b"0123456789"))

    async def test_clientLeaves(self) -> None:
        """Of clients that have left meanwhile nothing is left, and what none of them waits for is not read."""
        clients = [await self.connect(Client(b"GET /empty/ HTTP/1.1\r\nHost: here\r\n\r\n")) for _ in range(4)]
        await self.until(lambda: len(self.started) == 2 and len(self.site.transports) == 4)
        for client in clients:
            client.transport.abortConnection()
            await client.closed
        await self.until(lambda: not any(transport.connected for transport in self.site.transports))
        self.gate.set()
        self.assertEqual((await self.ask("/empty/")).status, 200)
        self.assertEqual(len(self.started), 3)

    async def test_fails(self) -> None:
        """A directory that goes meanwhile is not found; a mistake of ours is told as one, and logged."""
        for error, status in ((FileNotFoundError(2, "gone"), 404), (OSError(5, "broken"), 503), (KeyError("x"), 500)):

            def fail(root: WebRoot, segments: Sequence[bytes], error: Exception = error) -> list[str]:
                raise error

            self.patch(WebRoot, "list", fail)
            for method in ("GET", "HEAD"):
                self.assertEqual((await self.ask("/empty/", method)).status, status)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    async def test_head(self) -> None:
        """HEAD is answered with the headers of GET."""
        self.gate.set()
        get, head = await self.ask("/empty/"), await self.ask("/empty/", "HEAD")
        self.assertEqual((get.status, len(get.body), b""), (200, int(head.headers["content-length"]), head.body))


class RefusalTests(FilesTestCase):
    async def test_traversal(self) -> None:
        """No spelling of the way up, of a hidden name or of a NUL leads anywhere."""
        (self.top / ".git").mkdir()
        (self.top / ".git" / "config").write_bytes(b"secret")
        (self.top / "out").symlink_to("..")
        (self.top / "leak").symlink_to("../secret")
        for target in (
            "/../secret",
            "/../../../../../../etc/passwd",
            "/%2e%2e/secret",
            "/.%2e/secret",
            "/%2e%2e%2fsecret",
            "/..%2fsecret",
            "/..%5csecret",
            "/..\\secret",
            "/%252e%252e/secret",
            "/%c0%ae%c0%ae/secret",
            "/%e0%80%ae%e0%80%ae/secret",
            "/..%c0%afsecret",
            "/%uff0e%uff0e/secret",
            "/..;/secret",
            "/dir/../file.txt",
            "/dir/../../secret",
            "/./file.txt",
            "/%2fetc%2fpasswd",
            "//etc/passwd",
            "/file.txt%00",
            "/file.txt%00.html",
            "/%00",
            "/%ff",
            "/\xac",
            "/.git/config",
            "/%2egit/config",
            "/.git/",
            "/out/secret",
            "/leak",
            "/" + "a" * 300,
            "/" + "a/" * 3000,
        ):
            response = await self.ask(target)
            self.assertEqual((404, b"404 Not Found\n"), (response.status, response.body), target)

    async def test_errorPage(self) -> None:
        """An error says its status in plain text, and nothing of the request or of the machine."""
        response = await self.ask("/<script>alert(1)</script>")
        self.assertEqual((404, b"404 Not Found\n"), (response.status, response.body))
        self.assertEqual("text/plain; charset=utf-8", response.headers["content-type"])
        self.assertEqual("nosniff", response.headers["x-content-type-options"])

    async def test_targetThatIsNoPath(self) -> None:
        """A request target that does not begin with a slash is a bad request."""
        for target in ("xfile.txt", "xdir", "?x", "http://here/file.txt"):
            self.assertEqual(400, (await self.ask(target)).status, target)

    async def test_specialFiles(self) -> None:
        """A FIFO is not found, at once."""
        os.mkfifo(self.top / "fifo")
        self.assertEqual(404, (await self.ask("/fifo")).status)

    def failToOpen(self, number: int) -> None:
        def fail(root: WebRoot, segments: object) -> None:
            raise OSError(number, os.strerror(number), "/secret/path")

        self.patch(WebRoot, "open", fail)

    async def test_wellKnown(self) -> None:
        """What authorities and phones look for is served, at the top only, and nothing dotted beneath it."""
        for folder in (self.top, self.top / "dir"):
            (folder / ".well-known" / "acme-challenge").mkdir(parents=True)
            (folder / ".well-known" / "acme-challenge" / "token").write_bytes(b"proof")
            (folder / ".well-known" / ".secret").write_bytes(b"secret")
        response = await self.ask("/.well-known/acme-challenge/token")
        self.assertEqual((200, b"proof"), (response.status, response.body))
        hidden = ("/dir/.well-known/acme-challenge/token", "/.well-known/.secret", "/.well-known/", "/.well-known2")
        for target in hidden:
            self.assertEqual(404, (await self.ask(target)).status, target)

    async def test_swapped(self) -> None:
        """A link that becomes a directory while it is looked at is not found, rather than our fault."""
        (self.top / "current").symlink_to("dir")
        readlink = os.readlink

        def slow(path: Any, **more: Any) -> Any:
            if os.fsencode(path).endswith(b"/current"):
                os.unlink(path)
                os.mkdir(path)
            return readlink(path, **more)

        self.patch(os, "readlink", slow)
        with capturedLogs() as events:
            self.assertEqual(404, (await self.ask("/current/index.html")).status)
        self.assertEqual([], [event for event in events if event["log_level"] is LogLevel.error])

    async def test_unreadable(self) -> None:
        """A file without permission to read is forbidden; where it lies is not told."""
        self.failToOpen(errno.EACCES)
        response = await self.ask("/file.txt")
        self.assertEqual((403, b"403 Forbidden\n"), (response.status, response.body))

    async def test_outOfDescriptors(self) -> None:
        """What is wrong with the server is 503 and a line in the log, not a missing file."""
        self.failToOpen(errno.EMFILE)
        with capturedLogs() as events:
            response = await self.ask("/file.txt?password=x")
        self.assertEqual((503, b"503 Service Unavailable\n"), (response.status, response.body))
        (line,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        self.assertIn("/file.txt", line)
        self.assertNotIn("password", line)


class StreamTests(FilesTestCase):
    def makeSparse(self) -> Path:
        path = self.top / "sparse"
        with path.open("wb") as file:
            file.truncate(SPARSE_SIZE)
        return path

    async def stalled(self) -> Any:
        """Wait until the one connection's socket and buffer are full."""
        await self.until(lambda: self.site.transports)
        (transport,) = self.site.transports
        await self.until(lambda: transport.producerPaused and not select.select([], [transport], [], 0)[1])
        return transport

    def buffered(self, transport: Any) -> int:
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen

    async def test_wholeFile(self) -> None:
        """A file of many chunks arrives whole, and is closed."""
        path = self.top / "big"
        content = os.urandom(1024 * 1024) * 3 + b"end"
        path.write_bytes(content)
        self.assertEqual(content, (await self.ask("/big")).body)
        part = await self.ask("/big", Range=f"bytes=70000-{len(content) - 2}")
        self.assertEqual(content[70000:-1], part.body)
        self.assertEqual([], self.opened(path))

    async def test_clientStopsReading(self) -> None:
        """A client that stops reading stops the server, with little buffered; its leaving closes the file."""
        path = self.makeSparse()
        client = await self.connect(DeafClient(b"GET /sparse HTTP/1.1\r\n\r\n"))
        transport = await self.stalled()
        self.assertLessEqual(self.buffered(transport), 256 * 1024)
        (descriptor,) = self.opened(path)
        self.assertLess(os.lseek(descriptor, 0, os.SEEK_CUR), 2 * 1024 * 1024)
        client.transport.abortConnection()
        await client.closed
        await self.until(lambda: not self.opened(path))

    async def test_clientReadsOn(self) -> None:
        """A client that pauses and reads on gets the rest."""
        self.makeSparse()
        client = await self.connect(DeafClient(b"GET /sparse HTTP/1.0\r\nRange: bytes=-3000000\r\n\r\n"))
        await self.stalled()
        client.transport.resumeProducing()
        await client.closed
        self.assertEqual(bytes(3000000), parse(client.received).body)

    async def test_pipelinedRequests(self) -> None:
        """Requests sent at once by a client that does not read are answered no faster than it reads."""
        (self.top / "small").write_bytes(bytes(48 * 1024))
        client = await self.connect(DeafClient(b"GET /small HTTP/1.1\r\n\r\n" * 500))
        transport = await self.stalled()
        self.assertLessEqual(self.buffered(transport), 256 * 1024)
        client.transport.abortConnection()
        await client.closed

    async def test_fileShrinks(self) -> None:
        """A file cut short while it is sent ends the connection: the client sees that bytes are missing."""
        path = self.makeSparse()
        client = await self.connect(DeafClient(b"GET /sparse HTTP/1.1\r\n\r\n"))
        await self.stalled()
        os.truncate(path, 0)
        client.transport.resumeProducing()
        await client.closed
        response = parse(client.received)
        self.assertEqual(str(SPARSE_SIZE), response.headers["content-length"])
        self.assertLess(len(response.body), SPARSE_SIZE)
        self.assertEqual([], self.opened(path))

    async def test_diskFails(self) -> None:
        """So does a file that cannot be read on; the log says why."""

        class Failing(FileIO):
            def read(self, size: int = -1, /) -> bytes:
                if self.tell():
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return super().read(size) or b""

        path = self.makeSparse()
        self.patch(WebRoot, "open", lambda root, segments: Failing(path))
        with capturedLogs() as events:
            response = await self.ask("/sparse")
        self.assertEqual(bytes(64 * 1024), response.body)
        (line,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.error]
        self.assertIn(os.strerror(errno.EIO), line)
        self.assertEqual([], self.opened(path))

    async def test_fileGrows(self) -> None:
        """A file that grows while it is sent is sent up to the length that was promised."""
        path = self.top / "log"
        path.write_bytes(bytes(3000000))
        client = await self.connect(DeafClient(b"GET /log HTTP/1.0\r\n\r\n"))
        await self.stalled()
        with path.open("ab") as file:
            file.write(b"more")
        client.transport.resumeProducing()
        await client.closed
        self.assertEqual(bytes(3000000), parse(client.received).body)

    async def test_nothingStaysOpen(self) -> None:
        """Whatever the answer, the file is closed when it has been given."""
        etag = (await self.ask("/file.txt")).headers["etag"]
        opened: list[FileIO] = []
        open_ = WebRoot.open

        def keep(root: WebRoot, segments: Sequence[bytes]) -> FileIO:
            opened.append(open_(root, segments))
            return opened[-1]

        self.patch(WebRoot, "open", keep)
        for method, headers in (
            ("HEAD", {}),
            ("GET", {"If_None_Match": etag}),
            ("GET", {"If_Match": '"older"'}),
            ("GET", {"Range": "bytes=99-"}),
            ("GET", {"Range": "bytes=1-2"}),
        ):
            await self.ask("/file.txt", method, **headers)
            self.assertTrue(opened.pop().closed, (method, headers))
