"""VNC servers that want TLS and a certificate of their clients, for browsers that know of neither.

The proxy speaks VeNCrypt with the server (X509None: TLS on both certificates, and no password), and offers the browser
a console without security: that was seen to on its way, by ``wss`` and by whatever lets people in. The messages are
those of RFC 6143 section 7.1, and of VeNCrypt as the RFB protocol's community wrote it down
(https://github.com/rfbproto/rfbproto).

Run it with ``twistd -ny docs/embedding/vencrypt.py``, with ``ca.pem``, and ``proxy.pem`` (certificate and key), beside
it.
"""

import struct
from pathlib import Path
from typing import Any

from twisted.application.service import Application
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS

from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.errors import DialError
from wsproxy.interfaces import Conversation

VERSION = b"RFB 003.008\n"
NONE, VENCRYPT, X509_NONE = 1, 19, 260
OK = bytes(4)


class VeNCrypt:
    """
    Negotiates with both sides.

    @param authority: PEM of who signs the servers' certificates.
    @param certificate: PEM of the proxy's own, with its key.
    @param host: whose name is in a server's certificate, where that is not the target's host.
    """

    def __init__(self, authority: bytes, certificate: bytes, host: str | None = None) -> None:
        own: Any = PrivateCertificate  # which has no types yet
        self._authority: Any = Certificate.loadPEM(authority)
        self._certificate = own.loadPEM(certificate)
        self._host = host

    async def negotiate(self, client: Conversation, target: Conversation) -> None:
        await self._secure(target)
        await self._welcome(client)

    async def _secure(self, target: Conversation) -> None:
        if not (await target.readExactly(12)).startswith(b"RFB "):
            raise DialError("Target is no VNC server")
        target.write(VERSION)
        (count,) = await target.readExactly(1)
        if VENCRYPT not in (await target.readExactly(count) if count else b""):
            raise DialError("Target does not speak VeNCrypt")
        target.write(bytes([VENCRYPT]))
        await target.readExactly(2)  # its version of VeNCrypt
        target.write(b"\0\2")
        if await target.readExactly(1) != b"\0":
            raise DialError("Target speaks another VeNCrypt")
        (count,) = await target.readExactly(1)
        kinds = struct.unpack(f"!{count}I", await target.readExactly(4 * count))
        if X509_NONE not in kinds:
            raise DialError("Target wants more than a certificate")
        target.write(struct.pack("!I", X509_NONE))
        if await target.readExactly(1) != b"\1":
            raise DialError("Target does not begin TLS")
        await target.startTLS(self._settings(target.session.target.text))
        if await target.readExactly(4) != OK:
            raise DialError("Target does not let the proxy in")

    async def _welcome(self, client: Conversation) -> None:
        client.write(VERSION)
        if await client.readExactly(12) != VERSION:
            raise DialError("Only RFB 3.8 is spoken here")
        client.write(bytes([1, NONE]))
        if await client.readExactly(1) != bytes([NONE]):
            raise DialError("Only security type None is offered here")
        client.write(OK)

    def _settings(self, target: str) -> Any:
        host = self._host or target.rpartition(":")[0]
        return optionsForClientTLS(host, trustRoot=self._authority, clientCertificate=self._certificate)


def makeService(
    reactor: Any, vencrypt: VeNCrypt, target: str = "localhost:5900", listen: str = "6080"
) -> WebSockifyService:
    factory = WebSockifyFactory(reactor, resolver=lambda request, identity: target, negotiate=vencrypt)
    return WebSockifyService(reactor, factory, [listen])


if __name__ == "builtins":  # twistd -y runs a file under this name
    from twisted.internet import reactor

    application = Application("vencrypt")  # type: ignore[no-untyped-call]
    secrets = VeNCrypt(Path("ca.pem").read_bytes(), Path("proxy.pem").read_bytes())
    makeService(reactor, secrets).setServiceParent(application)  # type: ignore[no-untyped-call]
