"""
The Dockerfile, and the wheel on a Debian that has nothing else: neither a compiler nor npm nor this checkout.

It takes a minute, so that C{WSPROXY_CONTAINER} has to ask for all but the first; CI does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import LOCAL, Authority
from tests.components import require, requireComponent
from tests.integration.container import Container, Image, build
from tests.integration.test_packaging import built
from tests.integration.twistd import ROOT

DOCKERFILE = ROOT / "Dockerfile"
LARGEST = 160 << 20
"""Bytes that an image may have beyond Debian's."""


def size(folder: Path) -> int:
    return int(subprocess.run(["du", "-sb", folder], check=True, text=True, capture_output=True).stdout.split()[0])


@cache
def attempt() -> dict[str, Image] | Exception:
    """Once, however it ends."""
    try:
        return images()
    except Exception as error:
        return error


def images() -> dict[str, Image]:
    """What the Dockerfile makes; C{"debian"} is what it begins from."""
    folder = Path(tempfile.mkdtemp(dir=".")).absolute()
    (folder / "context/dist").mkdir(parents=True)
    shutil.copy(built("").wheel, folder / "context/dist")
    options = ["--quiet", "--variant=minbase", "--mode=root", "--format=directory"]
    subprocess.run(["mmdebstrap", *options, "bookworm", folder / "debian"], check=True)
    made = build(DOCKERFILE.read_text(), folder / "debian", folder / "context", folder)
    return {**made, "debian": Image(folder / "debian")}


class FileTests(SynchronousTestCase):
    def test_hadolint(self) -> None:
        """The Dockerfile is valid, and what is thought of as good practice."""
        hadolint = requireComponent("hadolint", str(Path(sys.executable).with_name("hadolint")))
        done = subprocess.run([hadolint, DOCKERFILE], check=False, text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


class ContainerCase(SynchronousTestCase):
    def setUp(self) -> None:
        require("WSPROXY_CONTAINER, which asks for it", lambda: "WSPROXY_CONTAINER" in os.environ)
        require("root, for namespaces", lambda: os.geteuid() == 0)
        for program in ("mmdebstrap", "unshare", "nsenter", "ip"):
            requireComponent(program)
        made = attempt()
        if isinstance(made, Exception):
            raise made
        self.images = made

    def start(self, *arguments: str, image: Image | None = None) -> Container:
        container = Container(self.images[""] if image is None else image, *arguments)
        self.addCleanup(container.close)
        return container

    def health(self, container: Container) -> str:
        """@return: what it complains of."""
        done = container.run(*container.image.health)
        return done.stderr or f"status {done.returncode}" if done.returncode else ""


class ImageTests(ContainerCase):
    def test_serves(self) -> None:
        """
        As it is, it serves its demo. Process 1 is tini's, and nothing is root's; what has lost its parent is reaped.
        It ends on SIGTERM, as it should, and the status is that of the proxy.
        """
        container = self.start()
        container.line("Room for")
        self.assertIn("binary", container.greeting("ws://localhost:6080/"))
        self.assertEqual(Path(f"/proc/{container.pid}/comm").read_text(), "tini\n")
        [proxy] = container.processes()
        for pid in (container.pid, proxy):
            self.assertEqual((os.stat(f"/proc/{pid}").st_uid, os.stat(f"/proc/{pid}").st_gid), (6080, 6080))
        self.assertEqual(container.run("sh", "-c", "sleep 0.1 & sleep 0.2 & :").returncode, 0)
        deadline = time.monotonic() + 5
        while container.processes() != [proxy] and time.monotonic() < deadline:
            time.sleep(0.05)  # nobody tells when another process has been reaped
        self.assertEqual(container.processes(), [proxy])
        self.assertEqual(container.end(signal.SIGTERM), 0)

    def test_health(self) -> None:
        """Any answer is one, whatever the proxy is told to serve; one that is stopped gives none."""
        (self.images[""].folder / "tmp/site.pem").write_bytes(Authority().issue(*LOCAL).both)
        user = ("--auth-plugin", "BasicHTTPAuth", "--auth-source", "alice:secret", "--web-auth")
        for arguments in (("--cert", "/tmp/site.pem", "--ssl-only"), user, ("--no-pages",), ()):
            container = self.start("--target", "demo:", *arguments)
            container.line("Room for")
            self.assertEqual(self.health(container), "")
        [proxy] = container.processes()
        os.kill(proxy, signal.SIGSTOP)
        self.assertIn("timed out", self.health(container))
        os.kill(proxy, signal.SIGCONT)
        self.assertEqual(self.health(container), "")

    def test_status(self) -> None:
        """A wrong option is one line, and the status that of the proxy."""
        container = self.start("--target", "nonsense")
        with self.assertRaises(AssertionError):
            container.line("Room for")
        self.assertEqual(container._process.wait(), 1)
        self.assertIn("--target nonsense", container.said)

    def test_wraps(self) -> None:
        """A program of the image is wrapped, by the library that came in the wheel."""
        words = ("--listen", "8000", "--no-pages", "--", "python3", "-m", "http.server", "8000")
        container = self.start(*words)
        container.line("Room for")
        self.assertIn("rebind.so", "".join(map(str, self.images[""].folder.rglob("rebind.so"))))
        self.assertEqual(container.end(signal.SIGTERM), 0)

    def test_small(self) -> None:
        """It has Python and what the proxy needs, and neither pip nor what packages were installed with."""
        image, debian = self.images[""], self.images["debian"]
        self.assertLess(size(image.folder) - size(debian.folder), LARGEST)
        self.assertFalse(
            [*image.folder.glob("opt/wsproxy/bin/pip*"), *image.folder.glob("var/lib/apt/lists/*Packages*")]
        )


class PipxTests(ContainerCase):
    def test_pipx(self) -> None:
        """
        pipx installs the wheel on a machine that has neither a compiler nor npm. What it puts on the PATH serves, far
        from this checkout.
        """
        image = self.images["wheel"]
        image.run("! command -v cc gcc clang npm node")
        image.run("python3 -m venv /opt/pipx && /opt/pipx/bin/pip install -q pipx")
        image.run("/opt/pipx/bin/pipx install --quiet /tmp/*.whl")
        image.run(
            "for each in wsproxy websockify wswrap wsproxy-replay; do /root/.local/bin/$each --help >/dev/null; done"
        )
        serving = Image(image.folder, {"PATH": "/usr/bin:/bin"}, "0:0", ["/root/.local/bin/wsproxy"])
        container = self.start("6080", "demo:", image=serving)
        container.line("Room for")
        self.assertIn("binary", container.greeting("ws://localhost:6080/"))
        vendored = "http://127.0.0.1:6080/vendor/@novnc/novnc/core/rfb.js"
        read = f"import urllib.request as r; assert r.urlopen({vendored!r}).status == 200"
        self.assertEqual(container.run("python3", "-c", read).stderr, "")
        self.assertEqual(container.end(signal.SIGTERM), 0)
