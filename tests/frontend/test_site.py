"""The connection of a request to a plain Site, in memory."""

from __future__ import annotations

import gc
import weakref
from typing import Any, cast

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from tests.frontend.connection import responses
from tests.frontend.test_upgrade import FakeSessions, Page, request, upgrade
from tests.transport import FakeTransport
from wsproxy.errors import Refusal
from wsproxy.frontend.lingering import LINGER
from wsproxy.frontend.site import SiteConnection, UpgradeResource
from wsproxy.sessions.sessions import Sessions


class SiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions = FakeSessions()
        self.sessions.answer = self.sessions.accept
        self.resource = UpgradeResource(self.clock, cast(Sessions, self.sessions), Page())
        self.transport = FakeTransport()
        site = Site(self.resource, reactor=cast(Any, self.clock))
        self.transport.connect(cast(Any, site.buildProtocol(None)))
        self.addCleanup(self.transport.lose)

    def test_resource(self) -> None:
        """It is a resource, without children of its own."""
        verifyObject(IResource, self.resource)
        self.assertRaises(NotImplementedError, self.resource.putChild, b"x", Resource())

    def test_upgrade(self) -> None:
        """What comes behind an upgrade, which comes behind another request, is the session's, and no timer is left."""
        self.transport.receive(request(b"/page") + upgrade(b"/a") + b"behind")
        self.transport.receive(b" it")
        page, accepted = responses(self.transport.value())
        self.assertEqual((page.body, accepted.status), (b"page page", 101))
        self.assertEqual(self.sessions.received, b"behind it")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """A refusal lingers, as long as anything else that is refused, and no longer."""
        self.sessions.answer = lambda upgrade: upgrade.refuse(Refusal(403, "No"))
        self.transport.receive(upgrade() + b"behind")
        (response,) = responses(self.transport.value())
        self.assertEqual((response.status, response.headers["connection"]), (403, "close"))
        self.assertTrue(self.transport.writeDisconnecting)
        self.transport.receive(b"ignored")
        self.assertFalse(self.transport.aborted)
        self.clock.advance(LINGER)
        self.assertTrue(self.transport.aborted)
        self.transport.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """A client that vanishes before it is answered is told of."""
        self.sessions.answer = None
        self.transport.receive(upgrade())
        self.transport.lose()
        self.assertEqual(self.sessions.lost, 1)

    def test_leavesNothing(self) -> None:
        """Of the HTTP before it nothing stays in memory, even before garbage is collected."""
        channels: list[Any] = []
        render = self.resource.render

        def spy(request: Any) -> Any:
            channels.append(weakref.ref(request.channel))
            return render(request)

        self.resource.render = spy  # type: ignore[method-assign]
        gc.disable()
        self.addCleanup(gc.enable)
        self.transport.receive(request(b"/page"))
        self.assertIsNotNone(channels[0]())
        self.transport.receive(upgrade())
        self.assertIsNone(channels[0]())


class HandingOverTests(SynchronousTestCase):
    """Whatever is between the socket and its protocol."""

    def connection(self, transport: Any) -> SiteConnection:
        return SiteConnection(transport, False, Clock())

    def test_wrapped(self) -> None:
        """A wrapper, such as TLS is, hands its bytes to the new protocol, and stays where it is."""
        transport, protocol = FakeTransport(), Receiving()
        wrapper: Any = WrappingFactory(Factory.forProtocol(Protocol)).buildProtocol(cast(Any, None))
        transport.connect(wrapper)
        self.connection(wrapper).become(protocol, b"early ")
        transport.receive(b"bird")
        self.assertEqual((protocol.received, protocol.transport), (b"early bird", wrapper))

    def test_startedTLS(self) -> None:
        """So does one that came into the connection later: to its protocol, that is still its transport."""
        transport, protocol = FakeTransport(), Receiving()
        wrapper: Any = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        transport.connect(wrapper)
        self.connection(transport).become(protocol, b"early ")
        transport.receive(b"bird")
        self.assertEqual((protocol.received, protocol.transport), (b"early bird", transport))
        self.assertIs(transport.protocol, wrapper)


class Receiving(Protocol):
    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
