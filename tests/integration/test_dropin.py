"""Programs that start C{websockify}, as they are: they are handed this one, and do not notice.

noVNC's own script is in its sources alone (WSPROXY_NOVNC); Jupyter has an environment of its own (WSPROXY_JUPYTER names
the folder of its programs), with the last jupyter-remote-desktop-proxy that starts websockify, 2.0.1.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from unittest import SkipTest

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.sync.client import connect

from tests.components import requireComponent
from tests.integration.twistd import Running, start

WEBSOCKIFY = '#!/bin/sh\nexec {python} -m wsproxy.websockify "$@"\n'
SETTINGS = """
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = {port}
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.IdentityProvider.token = ""
c.ServerApp.password = ""
c.ServerApp.root_dir = {home!r}
"""


def freePort() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class DropInCase(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())  # short, for sockets
        self.addCleanup(shutil.rmtree, self.folder, True)
        command = self.folder / "bin" / "websockify"
        command.parent.mkdir()
        command.write_text(WEBSOCKIFY.format(python=sys.executable))
        command.chmod(0o755)
        self.path = f"{command.parent}:{os.environ['PATH']}"

    def first(self, url: str, port: int) -> bytes | str:
        """What the target says first. Jupyter says that it listens before it does, so the port is tried."""
        for _ in range(200):
            try:
                with connect(url, compression=None, open_timeout=60) as client:
                    return client.recv(timeout=30)
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise AssertionError(f"nobody listens on port {port}")


class NoVNCTests(DropInCase):
    async def test_novncProxy(self) -> None:
        """novnc_proxy finds it, starts it with what it was told, serves its page, and ends it."""
        sources = os.environ.get("WSPROXY_NOVNC")
        if sources is None:
            raise SkipTest("WSPROXY_NOVNC names no sources of noVNC")
        requireComponent("ps")
        bash = requireComponent("bash")
        port = freePort()
        with socket.create_server(("127.0.0.1", 0)) as target:
            vnc = f"127.0.0.1:{target.getsockname()[1]}"
            words = ["--listen", str(port), "--vnc", vnc, "--web", sources, "--heartbeat", "30", "--idle-timeout", "90"]
            script = start(
                self,
                [bash, f"{sources}/utils/novnc_proxy", *words, "--timeout", "90", "--record", "session"],
                PATH=self.path,
            )
            await script.line("^Press Ctrl-C to exit")
            await script.line(f"proxying from :{port} to {vnc}")  # which the script has not waited for

            def visit() -> bytes | str:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/vnc.html", timeout=10) as page:
                    self.assertIn(b"noVNC", page.read())
                with connect(f"ws://127.0.0.1:{port}/websockify", compression=None) as client:
                    accepted, _ = target.accept()
                    with accepted:
                        accepted.sendall(b"RFB 003.008\n")
                        return client.recv(timeout=10)

            self.assertEqual(await deferToThread(visit), b"RFB 003.008\n")
        script.signal("TERM")
        outcome = await script.end()
        self.assertIn(f"connecting to: {vnc}", outcome.err)
        self.assertIn("Server Shut Down.", outcome.err)
        self.assertEqual([path.name for path in script.directory.iterdir()], ["session.1"])


class JupyterTests(DropInCase):
    def serve(self) -> Running:
        programs = os.environ.get("WSPROXY_JUPYTER")
        if programs is None:
            raise SkipTest("WSPROXY_JUPYTER names no programs of Jupyter")
        home = self.folder / "home"
        (home / ".vnc").mkdir(parents=True)
        startup = home / ".vnc" / "xstartup"
        startup.write_text("#!/bin/sh\nexec xterm\n")
        startup.chmod(0o755)
        self.port = freePort()
        settings = home / "settings.py"
        settings.write_text(SETTINGS.format(port=self.port, home=str(home)))
        words = [f"{programs}/jupyter-server", "--config", str(settings)]
        return start(self, words, PATH=self.path, HOME=str(home), JUPYTER_PREFER_ENV_PATH="1")

    async def test_desktop(self) -> None:
        """
        jupyter-remote-desktop-proxy has jupyter-server-proxy start it, with a VNC server on a unix socket behind --;
        the server's first bytes come through both proxies, and all ends with Jupyter.
        """
        requireComponent("vncserver", "tigervncserver")
        jupyter = self.serve()
        await jupyter.line("Use Control-C to stop this server")
        said = await deferToThread(self.first, f"ws://127.0.0.1:{self.port}/desktop-websockify/", self.port)
        self.assertEqual(said, b"RFB 003.008\n")
        outcome = await jupyter.stop()
        self.assertIn("connecting to unix socket: ", outcome.err)
