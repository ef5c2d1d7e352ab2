"""A real C{ssh} in front of conch: by C{websocket:} and C{wsproxy connect}, and by the raw port of a second proxy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.avatar import ConchUser
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import SSHSession
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor as _reactor
from twisted.internet.defer import DeferredQueue
from twisted.internet.endpoints import serverFromString
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.components import requireComponent
from tests.integration.twistd import startTwistd

reactor: Any = _reactor
WSPROXY = str(Path(sys.executable).with_name("wsproxy"))
SAID = 300_000


def _key(path: Path) -> Key:
    key = Key(Ed25519PrivateKey.generate())
    path.write_bytes(key.toString("openssh"))
    path.chmod(0o600)
    return key


class Channel(SSHSession):
    """Answers an C{exec} by itself."""

    def request_exec(self, data: bytes) -> int:
        command, _ = getNS(data)
        reactor.callLater(0, self._answer, command)
        return 1

    def _answer(self, command: bytes) -> None:
        self.write(command + b"\n" + b"x" * SAID)
        self.conn.sendRequest(self, b"exit-status", b"\0\0\0\7")
        self.loseConnection()


class User(ConchUser):
    def __init__(self) -> None:
        super().__init__()
        self.channelLookup[b"session"] = Channel


@implementer(IRealm)
class Realm:
    def requestAvatar(self, name: bytes, mind: Any, *interfaces: Any) -> Any:
        return interfaces[0], User(), lambda: None


class SSHTests(TestCase):
    timeout = 40

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.ssh = requireComponent("ssh")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        host, user = _key(self.folder / "host"), _key(self.folder / "user")
        factory = SSHFactory()
        factory.publicKeys = {b"ssh-ed25519": host.public()}
        factory.privateKeys = {b"ssh-ed25519": host}
        factory.portal = Portal(Realm(), [SSHPublicKeyChecker(InMemorySSHKeyDB({b"al": [user.public()]}))])
        listening = await serverFromString(
            reactor, r"websocket:tcp\:0\:interface=127.0.0.1:path=/ssh:user=gate:password=secret"
        ).listen(factory)
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port

    async def call(self, *options: str) -> Any:
        """@return: what ssh said, what it complained of, and its exit status."""
        common = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder / 'known'}", "IdentitiesOnly=yes",
                  "BatchMode=yes", "LogLevel=ERROR")  # fmt: skip
        words = [word for option in common for word in ("-o", option)]
        arguments = ["-F", "none", "-i", str(self.folder / "user"), *words, *options]
        return await getProcessOutputAndValue(self.ssh, arguments, env=dict(os.environ))

    async def test_proxyCommand(self) -> None:
        """
        C{ProxyCommand} through C{wsproxy connect}; the one line of progress is on stderr. Though ssh ends that by a
        signal, the far side sees a client that has left in good order.
        """
        ended: DeferredQueue[str] = DeferredQueue()

        def observe(event: LogEvent) -> None:
            if event.get("by") is not None:
                ended.put(f"{event['by']} {event['code']}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        command = f"{WSPROXY} connect --auth gate:secret ws://127.0.0.1:{self.port}/ssh"
        out, err, status = await self.call("-o", f"ProxyCommand={command}", "al@somewhere", "hello")
        self.assertEqual((out, status), (b"hello\n" + b"x" * SAID, 7), err)
        self.assertEqual(err, b"wsproxy: ws://127.0.0.1:%d/ssh: connected\n" % self.port)
        self.assertIn(await ended.get(), ("client 1000", "target 1000"))  # which hears of it first

    async def test_rawOnly(self) -> None:
        """A proxy of raw clients in front, whose target is the WebSocket: ssh knows of nothing."""
        proxy = startTwistd(
            self, "--listen", "127.0.0.1:0", "--raw-only", "--target", f"ws://gate:secret@127.0.0.1:{self.port}/ssh",
            options=("--pidfile=",),
        )  # fmt: skip
        port = (await proxy.line(r" starting on (\d+)"))[1]
        out, err, status = await self.call("-p", port, "al@127.0.0.1", "hello")
        self.assertEqual((out, status), (b"hello\n" + b"x" * SAID, 7), err)

    async def test_refused(self) -> None:
        """Who is not let in is told so, in the place of the line of progress."""
        command = f"{WSPROXY} connect ws://127.0.0.1:{self.port}/ssh"
        _, err, status = await self.call("-o", f"ProxyCommand={command}", "al@somewhere", "hello")
        self.assertEqual(status, 255)
        self.assertIn(b"Target answered 401", err)
