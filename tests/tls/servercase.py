"""What the tests of the TLS server share: a certificate on disk, a server made from it, clients."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import LOCAL, Authority, Issued, pem
from tests.handshake import Peer
from wsproxy.config import TLSConfig
from wsproxy.tls.server import ServerTLS

__all__ = ["AUTHORITY", "ISSUED", "ServerCase", "unreadable"]

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue(*LOCAL)


class ServerCase(SynchronousTestCase):
    """A folder with a certificate and its key in C{self.pem}, and a clock that tells the time of day."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        # Trial's own folder is closed to nobody, whom the tests of privileges become.
        self.folder.parent.chmod(0o755)
        self.clock = Clock()
        self.clock.advance(time.time())
        self.config = TLSConfig(self.file("self.pem", ISSUED.both))

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def server(self, **changes: object) -> ServerTLS:
        return ServerTLS(replace(self.config, **changes), self.clock.seconds)

    def context(self, client: Issued | None = None, only: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client that verifies the server, in every way Python has."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=pem(AUTHORITY.certificate).decode())
        if client is not None:
            context.load_cert_chain(self.file("client.pem", client.both))
        if only is not None:
            context.minimum_version = context.maximum_version = only
        return context

    def peer(self, server: ServerTLS, context: ssl.SSLContext | None = None, **settings: object) -> Peer:
        return Peer(server, context or self.context(), hostname="localhost", **settings)


@contextmanager
def unreadable(path: str) -> Iterator[None]:
    """Deny the file to this process, for root by being nobody for a while."""
    os.chmod(path, 0o600 if os.geteuid() == 0 else 0)
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(65534)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)
        os.chmod(path, 0o600)
