"""Tests of L{wsproxy.access.clients}."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.access.clients import AllowedClients
from wsproxy.errors import Refusal
from wsproxy.interfaces import Forwarded, IGate, Request

PEER = IPv4Address("TCP", "10.0.0.1", 5000)
CLIENT = IPv4Address("TCP", "192.0.2.7", 0)


def request(peer: IAddress = PEER, forwarded: Forwarded | None = None, **headers: str) -> Request:
    return Request("/", headers, peer, PEER, False, forwarded=forwarded)


class AllowedClientsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gate = AllowedClients(["192.0.2.0/24", "unix"])

    def test_interface(self) -> None:
        """It is a gate."""
        verifyObject(IGate, self.gate)

    def test_allowed(self) -> None:
        """It lets in by the real client."""
        self.gate.enter(request(CLIENT))
        self.gate.enter(request(UNIXAddress(b"")))
        self.gate.enter(request(PEER, Forwarded(CLIENT)))

    def test_refused(self) -> None:
        """Nobody else comes in, nor does whoever comes through an allowed proxy that names him."""
        for asked in (request(), request(CLIENT, Forwarded(PEER))):
            refusal = self.assertRaises(Refusal, self.gate.enter, asked)
            self.assertEqual((refusal.status, refusal.reason), (403, "Client not allowed"))
            self.assertEqual(refusal.cause, "its address is not in --allow")
            self.assertFalse(refusal.guess)

    def test_untrusted(self) -> None:
        """Where a proxy in front may be meant, the log says how it would be."""
        refusal = self.assertRaises(Refusal, self.gate.enter, request(**{"x-forwarded-for": "192.0.2.7"}))
        self.assertIn("--trusted-proxy", refusal.cause)
