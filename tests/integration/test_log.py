"""What the operator reads: at the start, of each session, and nothing that is nobody's business."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL
from tests.integration.bridge import BridgeTestCase, authority, connect
from tests.integration.client import CLOSE, Client, frame
from tests.integration.proxy import Proxy

SECRETS = ("hunter2", "sesame", "Basic ", "s3cr3t-cookie", "token=", "subscriber")


class StartTests(TestCase):
    """The first lines."""

    timeout = 30

    async def test_lines(self) -> None:
        """What listens where and leads where, with TLS or without, the page to open, and for how many there is room."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "self.pem").write_bytes(authority().issue(*LOCAL).both)
        proxy = Proxy(folder, "--listen", "unix:socket", "--target", "localhost:5900")
        self.addCleanup(proxy.stop)
        await proxy.said("Room for ")
        log = "\n".join(proxy.lines)
        self.assertRegex(log, r"Listening on 127\.0\.0\.1:\d+ \(http and https\), leading to localhost:5900\n")
        self.assertIn(f"Listening on unix:{folder}/socket (http and https), leading to localhost:5900\n", log)
        self.assertRegex(log, r"Open http://localhost:\d+/\n")
        self.assertRegex(log, r"Room for \d+ sessions \(\d+ descriptors\)")


class SessionTests(BridgeTestCase):
    """The lines of a session, from a proxy that says little."""

    async def misbehave(self) -> None:
        """Clients with secrets, and with words that are not fit for a terminal."""
        path = "/vnc%0A%1B[31m?token=hunter2&password=sesame"
        headers = [
            "Authorization: Basic c3Vic2NyaWJlcjpzZXNhbWU=",
            "Cookie: session=s3cr3t-cookie",
            "User-Agent: \x1b]0;subscriber\x07",
        ]
        for request in (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\n",
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n",
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nOrigin: http://evil\x1b[2J/?token=hunter2\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n",
            f"GET {path}\r\n",
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nno colon, sesame\r\n",
        ):
            visitor = self.connect()
            visitor.write((request + "\r\n".join([*headers, "", ""])).encode("latin-1"))
            await visitor.some()
        client = Client(self.connect())
        self.assertEqual((await client.upgrade(path, headers=headers)).status, 101)
        target = await self.target.accept()
        client.close(4000, "one\nsession closed by target: 1000\x1b[2J\u202e")
        await target.rest()
        target.close()
        await client.stream.gone()
        await self.ending(client)

    async def assertDecent(self) -> None:
        """The log has no secret, and nothing in it is anything but text, a line for each event."""
        await self.misbehave()
        log = "\n".join(self.proxy.lines)
        for secret in SECRETS:
            self.assertNotIn(secret, log)
        for line in self.proxy.lines:
            self.assertTrue(line.isprintable(), ascii(line))
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 \[")
        closing = [line for line in self.proxy.lines if "4000 one" in line]
        self.assertEqual(len(closing), 1)
        self.assertIn(r"closed by client: 4000 one\nsession closed by target: 1000\x1b[2J\u202e; ", closing[0])

    async def test_lines(self) -> None:
        """One line when it opens and one when it closes, with an id of its own, and none in between."""
        since = len(self.proxy.lines)
        for payload in (b"", b"12345"):
            client, target = await self.session()
            client.send(payload)
            target.write(b"123")
            await client.exactly(3)
            client.stream.write(frame(b"", CLOSE))
            await target.rest()
            target.close()
            await client.stream.gone()
            await self.ending(client)
        said = [line.partition("] ")[2] for line in self.proxy.lines[since:]]
        self.assertEqual(len(said), 4, said)
        ids = {line.split()[0] for line in said}
        self.assertEqual(len(ids), 2)
        where = rf"127\.0\.0\.1:\d+ → 127\.0\.0\.1:{self.target.port}"
        for opened, closed, size in ((said[0], said[1], 0), (said[2], said[3], 5)):
            self.assertRegex(opened, rf"^[0-9a-f]{{8}} {where} \(ws /\)$")
            self.assertEqual(opened.split()[0], closed.split()[0])
            ending = rf" closed by client: 1005 \(no reason\); \d\.\d s, {size} bytes up, 3 bytes down$"
            self.assertRegex(closed, ending)

    async def test_decency(self) -> None:
        """Remote text is escaped; secrets are absent."""
        await self.assertDecent()


class VerboseTests(SessionTests):
    """A proxy that says more, over TLS too."""

    arguments = ("--verbose",)
    secure = True

    async def test_lines(self) -> None:
        """C{--verbose} tells of handshakes, and of those that never came to a session."""
        client, target = await self.session()
        target.close()
        await client.leave()
        plain = connect(self.port)
        self.addCleanup(plain.reset)
        plain.write(b"\x00\x01\x1b]0;nonsense\x07")
        await plain.rest()
        log = "\n".join(self.proxy.lines)
        self.assertRegex(log, rf" 127\.0\.0\.1:{client.stream.port} TLS handshake completed\n")
        self.assertRegex(log, rf" 127\.0\.0\.1:{plain.port} speaks nothing that is served here(\n|$)")


class TrafficTests(BridgeTestCase):
    """C{--traffic}."""

    arguments = ("--traffic",)

    async def test_marks(self) -> None:
        """Each piece that passes leaves its mark on stdout: received } and sent > for the client's, { and < back."""
        client, target = await self.session()
        target.write(b"down")
        await client.exactly(4)
        client.send(b"up")
        await target.exactly(2)
        half = frame(b"a whole frame")
        client.stream.write(half[:10])
        await target.exactly(4)
        client.stream.write(half[10:])
        await target.exactly(9)
        target.close()
        await client.leave()
        await self.ending(client)
        log = (self.proxy.folder / "log").read_text()
        marks = "".join(re.findall(r"^([}>{<.]+)|(?<=\n)[}>{<.]+", log, re.MULTILINE))
        self.assertEqual(marks, "{<}>}.>}>")
