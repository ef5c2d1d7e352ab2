"""TLS as clients meet it on the real port, and certificates that change under load."""

from __future__ import annotations

import ssl
from typing import Any

from twisted.internet import reactor as _reactor

from tests.certificates import pem
from tests.components import requireComponent
from tests.integration.bridge import BridgeTestCase, authority
from tests.integration.client import Client
from tests.integration.twistd import Running, start

reactor: Any = _reactor

RENEWALS = 10
"""Each shows in a handshake a second later at the earliest."""


class Inner:
    """TLS in memory, to be carried by whatever."""

    def __init__(self, **options: Any) -> None:
        context = ssl.create_default_context(cadata=pem(authority().certificate).decode())
        if "alpn" in options:
            context.set_alpn_protocols(options["alpn"])
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")


class TLSTests(BridgeTestCase):
    """A port that speaks plaintext and TLS."""

    secure = True

    async def outcome(self, running: Running) -> str:
        """What a program says that reads its input to the end."""
        assert running.transport is not None
        running.transport.closeStdin()
        outcome = await running.end()
        return outcome.out + outcome.err

    async def echo(self, client: Client) -> None:
        target = await self.target.accept()
        client.send(b"up")
        self.assertEqual(await target.exactly(2), b"up")
        target.write(b"down")
        self.assertEqual(await client.exactly(4), b"down")

    async def test_both(self) -> None:
        """wss:// and ws:// are served on the one port."""
        for secure in (True, False):
            client = Client(self.connect(secure=secure))
            self.assertEqual((await client.upgrade()).status, 101)
            await self.echo(client)

    async def test_protocols(self) -> None:
        """Of the protocols a client offers http/1.1 is chosen; one that offers others only is refused with an alert."""
        openssl = requireComponent("openssl")
        cases = {"h2,http/1.1": "ALPN protocol: http/1.1", "h2": "no application protocol"}
        for offer, said in cases.items():
            command = [openssl, "s_client", "-connect", f"127.0.0.1:{self.port}", "-alpn", offer]
            running = start(self, command)
            self.assertIn(said, await self.outcome(running))

    async def test_versions(self) -> None:
        """TLS 1.1 is refused with an alert, 1.2 and 1.3 are not."""
        openssl = requireComponent("openssl")
        for version, said in (("tls1_2", "Cipher is ECDHE"), ("tls1_3", "Cipher is TLS_"), ("tls1_1", "alert")):
            command = [openssl, "s_client", "-connect", f"127.0.0.1:{self.port}", f"-{version}"]
            running = start(self, [*command, "-cipher", "ALL:@SECLEVEL=0"])
            self.assertIn(said, await self.outcome(running))

    async def test_nested(self) -> None:
        """TLS inside TLS is not unwrapped a second time: the connection is closed without an answer."""
        stream = self.connect()
        inner = Inner()
        with self.assertRaises(ssl.SSLWantReadError):
            inner.tls.do_handshake()
        stream.write(inner._out.read())
        self.assertEqual(await stream.rest(), b"")

    async def test_oldHello(self) -> None:
        """An SSLv2 hello gets an alert at most, then the end; the port serves on."""
        stream = self.connect(secure=False)
        hello = bytes.fromhex("802e0103010015000000100000070000c0040080000005000002") + bytes(22)
        stream.write(hello)
        answer = await stream.rest()
        self.assertIn(answer[:1], (b"", b"\x15"))
        client = Client(self.connect())
        self.assertEqual((await client.upgrade()).status, 101)
        await self.echo(client)


class TLSOnlyTests(BridgeTestCase):
    """C{--ssl-only}."""

    arguments = ("--ssl-only",)
    secure = True

    async def test_plaintext(self) -> None:
        """Plaintext HTTP is answered 400 in one sentence, whether or not it asks for a WebSocket."""
        client = Client(self.connect(secure=False))
        response = await client.upgrade()
        self.assertEqual(response.status, 400)
        body = await client.stream.rest()
        self.assertEqual(body, b"400 This port speaks TLS only: use https:// or wss://\n")

    async def test_secure(self) -> None:
        """wss:// is served."""
        client, target = await self.session()
        target.close()
        self.assertEqual(await client.rest(), (b"", (1000, "Target closed")))
