"""The arrows between the rooms point downwards (docs/architecture.rst)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import wsproxy

PACKAGE = Path(wsproxy.__file__).parent

LEVELS = [
    {"errors", "config", "escape", "fault"},
    {"interfaces"},
    {"daemon", "access", "endpoints", "tls", "wire", "ends"},
    {"websocket"},
    {"tunnel", "dialling"},
    {"cluster", "jose"},
    {"plugins"},
    {"tokens", "authentication", "links", "limits", "nodes"},
    {"sessions", "recording", "process"},
    {"frontend", "static_web", "replay", "metrics"},
    {"factory", "testing"},
    {"resource"},
    {"service", "entrance", "admin", "passage"},
    {"wiring"},
    {"workers"},
    {"command"},
    {"websockify"},
    {"manual", "__main__"},
]
"""From the ground up. A room imports from lower levels only, and freely within itself."""

SANS_IO = {
    "access/proxyheader.py",
    "frontend/head.py",
    "frontend/sniff.py",
    "recording/format.py",
    "replay/asciicast.py",
    "replay/telnet.py",
    "wire/base64.py",
    "wire/frames.py",
    "wire/hixie.py",
    "wire/mask.py",
    "wire/serverframes.py",
    "wire/wire.py",
    "workers/messages.py",
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, wherever in it."""
    inside = ("wsproxy", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


class LayerTests(SynchronousTestCase):
    sources = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]

    def test_downwards(self) -> None:
        """A room imports only from the levels below its own."""
        level = {name: number for number, names in enumerate(LEVELS) for name in names}
        wrong = [
            f"{path.relative_to(PACKAGE)} imports {name}"
            for path in self.sources
            for name in imports(path)
            if name.startswith("wsproxy.")
            and (other := name.split(".")[1]) != room(path)
            and other in level
            and level[other] >= level[room(path)]
        ]
        self.assertEqual(wrong, [])

    def test_everyRoomHasALevel(self) -> None:
        """A new room takes its place in the order."""
        self.assertEqual({room(path) for path in self.sources} - set().union(*LEVELS), set())

    def test_sansIO(self) -> None:
        """What is sans-IO imports no Twisted."""
        wrong = [
            f"{name} imports {module}"
            for name in sorted(SANS_IO)
            for module in imports(PACKAGE / name)
            if module.startswith(("twisted", "autobahn", "socket"))
        ]
        self.assertEqual(wrong, [])

    def test_autobahnHasOneImporter(self) -> None:
        """Only the opening handshake knows Autobahn."""
        users = {
            str(path.relative_to(PACKAGE))
            for path in self.sources
            for module in imports(path)
            if module.startswith("autobahn")
        }
        self.assertEqual(users, {"frontend/websocket.py"})

    def test_globalReactor(self) -> None:
        """Only what has a process of its own imports the global reactor."""
        users = {str(path.relative_to(PACKAGE)) for path in self.sources if "twisted.internet.reactor" in imports(path)}
        self.assertEqual(users, {"command/plugin.py", "workers/child.py"})
