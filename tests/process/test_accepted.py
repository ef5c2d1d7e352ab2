"""What the kernel says of a connection before the program has accepted it, and after."""

from __future__ import annotations

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process.accepted import Acceptance, acceptance, canTell


class AcceptanceTests(SynchronousTestCase):
    def listen(self, host: str) -> tuple[socket.socket, socket.socket]:
        """@return: a listening socket, and a connection to it."""
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(server.close)
        server.bind((host, 0))
        server.listen(5)
        client = socket.create_connection((host.removeprefix("::ffff:"), server.getsockname()[1]))
        self.addCleanup(client.close)
        return server, client

    def test_families(self) -> None:
        """Accepted or not, over IPv4, IPv6 and IPv4 that is mapped into IPv6."""
        self.assertTrue(canTell())
        for host in "127.3.2.1", "::1", "::ffff:127.3.2.1":
            server, client = self.listen(host)
            self.assertIs(acceptance(client), Acceptance.WAITING)
            with server.accept()[0]:
                self.assertIs(acceptance(client), Acceptance.ACCEPTED)

    def test_gone(self) -> None:
        """What waits when the listening socket is closed is gone."""
        server, client = self.listen("127.0.0.1")
        server.close()
        self.assertIs(acceptance(client), Acceptance.GONE)

    def test_closed(self) -> None:
        """A connection that was accepted and closed has been accepted; one that was reset is gone."""
        server, client = self.listen("127.0.0.1")
        server.accept()[0].close()
        self.assertIs(acceptance(client), Acceptance.ACCEPTED)
        server, client = self.listen("127.0.0.1")
        accepted = server.accept()[0]
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        self.assertIs(acceptance(client), Acceptance.GONE)

    def test_fullQueue(self) -> None:
        """A connection that the queue has no room for waits as well, if it is one already."""
        server, client = self.listen("127.0.0.1")
        server.listen(0)
        self.assertIs(acceptance(client), Acceptance.WAITING)

    def test_others(self) -> None:
        """Nothing is known of other sockets."""
        here, there = socket.socketpair()
        for each in here, there:
            self.addCleanup(each.close)
            self.assertIs(acceptance(each), Acceptance.UNKNOWN)
