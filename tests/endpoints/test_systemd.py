"""What is said of sockets that were passed; that they are served is shown in tests.integration.test_systemd."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from wsproxy.endpoints.adopted import adoptPort
from wsproxy.endpoints.systemd import PassedEndpoint, parsePassed, passedSockets

reactor: Any = _reactor


class ParseTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Neither name nor index, one of them, and Twisted's own form."""
        for words, index, name, domain in (
            ([""], None, None, None),
            (["name=vnc"], None, "vnc", None),
            (["index=1"], 1, None, None),
            (["domain=INET6", "index=0"], 0, None, "INET6"),
            (["UNIX", "2"], 2, None, "UNIX"),
        ):
            endpoint = parsePassed(None, words)
            self.assertEqual((endpoint.index, endpoint.name, endpoint.domain), (index, name, domain))

    def test_nonsense(self) -> None:
        """What cannot be meant."""
        for words in (
            ["index=1", "name=a"], ["index=-1"], ["index=x"], ["index=1", "index=1"], ["domain=INET"],
            ["domain=IPX", "index=0"], ["INET", "0", "1"], ["port=6080"],
        ):  # fmt: skip
            with self.assertRaises(ValueError):
                parsePassed(None, words)

    def test_notPassed(self) -> None:
        """These tests were passed none, whatever their environment says now."""
        self.patch(os, "environ", {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
        self.assertEqual(passedSockets(), [])

    def test_twice(self) -> None:
        """A name that several have says nothing."""
        endpoint = PassedEndpoint(None, [("a", 3), ("a", 4)], name="a")
        failure = self.failureResultOf(endpoint.listen(Factory()), ValueError)
        self.assertEqual(str(failure.value), "2 sockets of that name were passed, but: a, a")


class AdoptTests(TestCase):
    async def test_socketFile(self) -> None:
        """Of a file its mode, its place and its socket stay what they are; so does the backlog."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path := f"{folder}/socket")
            os.chmod(path, 0o600)
            listener.listen(300)
            port = adoptPort(reactor, listener.fileno(), Factory.forProtocol(Protocol))
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.assertTrue(port.getHost().name.endswith(b"/socket"))
            clients = [socket.socket(socket.AF_UNIX) for _ in range(200)]
            for client in clients:
                self.addCleanup(client.close)
                client.setblocking(False)
                client.connect(path)  # EAGAIN where there is no room
            stopping = port.stopListening()
            await stopping
            with socket.socket(socket.AF_UNIX) as next_:
                next_.connect(path)
