"""What is handed to others: the sdist, the wheel, and C{twistd websockify} once one of them is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.components import require, requireComponent
from tests.integration.bridge import connect
from tests.integration.client import Client
from tests.integration.twistd import ROOT, TWISTD, start
from wsproxy import __version__

UNTRACKED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".build",
    "_trial_temp*",
    "build",
    "dist",
    "*.egg-info",
    "node_modules",
    "vendor",
    "__pycache__",
    "*.so",
    ".*cache",
)


_COMMANDS = {"wsproxy", "wsproxy-replay", "wswrap", "websockify"}

_ECHO = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        client = server.accept()[0]
        while data := client.recv(4096):
            client.sendall(data)
"""
"""A program that insists on a port, and says what it is told."""


@dataclass(frozen=True)
class Build:
    """A copy of the project, what C{python -m build} said there, and the wheel it made."""

    source: Path
    output: str

    @property
    def wheel(self) -> Path:
        [wheel] = (self.source / "dist").glob("*.whl")
        return wheel

    @property
    def sdist(self) -> Path:
        [sdist] = (self.source / "dist").glob("*.tar.gz")
        return sdist

    def names(self) -> set[str]:
        """What the wheel contains."""
        return set(zipfile.ZipFile(self.wheel).namelist())

    def vendored(self) -> dict[str, int]:
        """The npm packages in the wheel: checksum of each file."""
        files = zipfile.ZipFile(self.wheel).infolist()
        return {file.filename: file.CRC for file in files if "/static/vendor/" in file.filename}


def hasBuildTools() -> bool:
    if importlib.util.find_spec("build") is None:
        return False
    return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77


def build(source: Path, tools: str, *what: str) -> Build:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *what],
        cwd=source,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "CC": f"{tools}cc", "NPM": f"{tools}npm"},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise AssertionError(done.stdout)
    return Build(source, done.stdout)


@cache
def built(tools: str) -> Build:
    """Tests share what takes seconds to make. C{tools} is what precedes the names of the C compiler and npm."""
    source = Path(tempfile.mkdtemp(dir=".")).absolute() / "source"
    shutil.copytree(ROOT, source, ignore=UNTRACKED)
    return build(source, tools)


class PackagingTests(TestCase):
    """The files, built as they are for a release."""

    def build(self, tools: str = "") -> Build:
        require("build, setuptools >= 77", hasBuildTools)
        return built(tools)

    def freshEnvironment(self) -> str:
        """The interpreter of an environment that has what the project depends on, and not the project."""
        folder = Path(self.mktemp()).absolute()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return str(folder / "bin/python")

    def install(self, python: str, *what: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--no-build-isolation", *what], check=True)

    async def assertWorks(self, python: str) -> None:
        """In a folder that has nothing to do with it, twistd knows the command, and it starts and stops."""
        version = await start(self, [python, TWISTD, "websockify", "--version"], PYTHONPATH="").end()
        self.assertEqual((version.status, version.out), (0, f"wsproxy {__version__}\n"), version)
        command = [python, TWISTD, "-n", "websockify", "--listen", "127.0.0.1:0", "--target", "demo:"]
        twistd = start(self, command, PYTHONPATH="")
        await twistd.line(" starting on ")
        self.assertEqual((await twistd.stop()).status, 0)

    def test_clean(self) -> None:
        """Building them gives no warning."""
        said = self.build().output.splitlines()
        self.assertEqual([line for line in said if "warn" in line.lower() or "deprecat" in line.lower()], [])

    def test_sdist(self) -> None:
        """The sdist has every file of the project, so that others can test and package it."""
        git = requireComponent("git")
        require("the project's git repository", (ROOT / ".git").exists)
        listing = subprocess.run([git, "ls-files"], cwd=ROOT, text=True, capture_output=True, check=True)
        tracked = {name for name in listing.stdout.splitlines() if not name.startswith((".git", "benchmarks/"))}
        with tarfile.open(self.build().sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        self.assertEqual(tracked - names, set())
        self.assertEqual([name for name in names if name.endswith((".pyc", ".so", ".o"))], [])

    def test_wheel(self) -> None:
        """The wheel has each module, page and declaration, and leaves Twisted's own packages alone."""
        build = self.build()
        there = build.source.glob("wsproxy/**/*")
        files = [path for path in there if path.is_file() and path.suffix != ".pyc"]  # which other tests leave behind
        self.assertEqual({str(path.relative_to(build.source)) for path in files} - build.names(), set())
        ofTwisted = {name for name in build.names() if name.startswith("twisted/")}
        plugins = ("websockify_plugin", "wsproxy_endpoints")
        self.assertEqual(ofTwisted, {f"twisted/plugins/{name}.py" for name in plugins})
        self.assertIn(f"wsproxy-{__version__}.dist-info/licenses/LICENSE", build.names())
        pages = {f"wsproxy-{__version__}.data/data/share/man/man1/{name}.1" for name in ("wsproxy", "websockify")}
        self.assertEqual(pages - build.names(), set())

    def test_rebind(self) -> None:
        """The wheel has the built library and its source, and is for this platform and any Python 3."""
        requireComponent("cc")
        require("rebind", (ROOT / "rebind/rebind.c").exists)
        build = self.build()
        wanted = {"wsproxy/process/rebind.so", "wsproxy/process/rebind/rebind.c"}
        self.assertEqual(wanted - build.names(), set())
        self.assertIn("-py3-none-linux_", build.wheel.name)

    def test_npmPackages(self) -> None:
        """The wheel has the npm packages that the pages use, with their licences, and so has the sdist."""
        requireComponent("npm")
        build = self.build()
        parts = {
            "@xterm/xterm": {"lib/xterm.mjs", "css/xterm.css", "LICENSE"},
            "@xterm/addon-fit": {"lib/addon-fit.mjs", "LICENSE"},
            "@novnc/novnc": {"core/rfb.js", "LICENSE.txt", "docs/LICENSE.MPL-2.0", "vendor/pako/LICENSE"},
        }
        wanted = {f"wsproxy/static/vendor/{package}/{name}" for package in parts for name in parts[package]}
        self.assertEqual(wanted - build.names(), set(), build.output)
        with tarfile.open(build.sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        self.assertEqual(wanted - names, set(), build.output)

    def test_fromSdist(self) -> None:
        """A wheel that is built from the sdist has them too, to the byte, where there is no npm."""
        requireComponent("npm")
        first = self.build()
        folder = Path(self.mktemp()).absolute()
        with tarfile.open(first.sdist) as archive:
            archive.extractall(folder, filter="data")
        [source] = folder.iterdir()
        second = build(source, "no-such-", "--wheel")
        self.assertTrue(first.vendored())
        self.assertEqual(second.vendored(), first.vendored())
        self.assertNotIn("no-such-npm", second.output)

    def test_newWarnings(self) -> None:
        """A C compiler that warns of more than today's do builds rebind all the same; it does not in our own CI."""
        require("rebind", (ROOT / "rebind/rebind.c").exists)
        folder = Path(self.mktemp()).absolute()
        shutil.copytree(ROOT / "rebind", folder, ignore=UNTRACKED)
        compiler = f"{requireComponent('cc')} -Wconversion -Wpadded"

        def make(*options: str) -> subprocess.CompletedProcess[str]:
            command = ["make", "-B", "-C", str(folder), f"CC={compiler}", "rebind.so", *options]
            return subprocess.run(command, check=False, text=True, capture_output=True)

        done = make("WERROR=")
        self.assertIn("warning:", done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotEqual(make("WERROR=-Werror").returncode, 0)

    def test_lock(self) -> None:
        """Each npm package has one version and a digest, and comes from whatever registry its user has."""
        lock = json.loads((ROOT / "wsproxy/static/package-lock.json").read_text())
        packages = [entry for name, entry in lock["packages"].items() if name]
        self.assertTrue(packages)
        for entry in packages:
            self.assertNotIn("resolved", entry)
            self.assertTrue(entry["integrity"].startswith("sha512-"))

    async def test_bare(self) -> None:
        """Without a C compiler and npm, each thing that lacks something says so once; the wheel is pure, and works."""
        require("rebind", (ROOT / "rebind/rebind.c").exists)
        build = self.build("no-such-")
        said = [line.partition(":")[2] for line in build.output.splitlines() if "no-such-" in line]
        wanted = [
            " the sdist lacks the npm packages: no no-such-npm on this machine",
            " the telnet and VNC pages lack their parts: no no-such-npm on this machine",
            " rebind is left out, programs cannot be wrapped: no no-such-cc on this machine",
        ]
        self.assertEqual(said, wanted, build.output)
        self.assertFalse([name for name in build.names() if "vendor" in name])
        self.assertIn("-py3-none-any", build.wheel.name)
        python = self.freshEnvironment()
        self.install(python, str(build.wheel))
        await self.assertWorks(python)

    async def test_install(self) -> None:
        """Installing the wheel gives C{twistd websockify}."""
        python = self.freshEnvironment()
        self.install(python, str(self.build().wheel))
        await self.assertWorks(python)

    async def test_smoke(self) -> None:
        """
        The wheel alone, far from this checkout: each command there is, a session to a wrapped program that is moved by
        the library in it, and a page.
        """
        require("rebind", (ROOT / "rebind/rebind.c").exists)
        python = self.freshEnvironment()
        self.install(python, str(self.build().wheel))
        where = await start(self, [python, "-c", "import wsproxy; print(wsproxy.__file__)"], PYTHONPATH="").end()
        self.assertTrue(where.out.startswith(str(Path(python).parents[1])), where)
        commands = {entry.name for entry in Path(python).parent.iterdir()} & _COMMANDS
        self.assertEqual(commands, _COMMANDS)
        for name in sorted(commands):
            shown = await start(self, [str(Path(python).with_name(name)), "--help"], PYTHONPATH="").end()
            self.assertEqual((shown.status, shown.out != "", shown.err), (0, True, ""), shown)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        echo = [sys.executable, "-c", _ECHO, str(port)]
        command = [str(Path(python).with_name("wsproxy")), "serve", "--listen", f"127.0.0.1:{port}", "--", *echo]
        serving = start(self, command, PYTHONPATH="")
        await serving.line(" starting on ")
        client = Client(connect(port))
        self.assertEqual((await client.upgrade(offer=["binary"])).status, 101)
        client.send(b"hello")
        self.assertEqual(await client.exactly(5), b"hello")
        client.stream.reset()
        page = connect(port)
        page.write(b"GET /wstelnet.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertTrue((await page.rest()).startswith(b"HTTP/1.1 200 "))
        await page.gone()
        self.assertEqual((await serving.stop()).status, 0)

    async def test_installEditable(self) -> None:
        """So does installing the checkout as it is edited."""
        python = self.freshEnvironment()
        self.install(python, "-e", str(self.build().source))
        await self.assertWorks(python)

    async def test_checkout(self) -> None:
        """So does naming the checkout in PYTHONPATH."""
        checkout = str(self.build().source)
        version = await start(self, [TWISTD, "websockify", "--version"], PYTHONPATH=checkout).end()
        self.assertEqual(version.out, f"wsproxy {__version__}\n")
