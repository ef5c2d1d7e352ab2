"""Which page a person is told to open."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.static_web.entry import entryPath


class EntryPathTests(SynchronousTestCase):
    def path(self, *names: str, index: str = "index.html", listing: bool = False, own: bool = True) -> str | None:
        """What is to be opened where the web root has files of these names."""
        root = Path(self.mktemp())
        root.mkdir()
        for name in names:
            (root / name).touch()
        return entryPath(str(root), index=index, listing=listing, own=own)

    def test_ownPages(self) -> None:
        """Without a web root it is the proxy's own page; without pages there is none."""
        self.assertEqual(entryPath(None, index="index.html", listing=False, own=True), "/")
        self.assertIsNone(entryPath(None, index="index.html", listing=False, own=False))

    def test_index(self) -> None:
        """A web root with its index file is opened at the root."""
        self.assertEqual(self.path("index.html", "vnc.html"), "/")
        self.assertEqual(self.path("home.htm", "index.html", index="home.htm"), "/")

    def test_noIndex(self) -> None:
        """noVNC has no index: its page is named, the one with all its controls first."""
        self.assertEqual(self.path("vnc.html", "vnc_lite.html"), "/vnc.html")
        self.assertEqual(self.path("vnc_lite.html"), "/vnc_lite.html")
        self.assertEqual(self.path("index.html", index="home.htm"), "/index.html")

    def test_nothingThere(self) -> None:
        """Where the web root has no page, a listing or the proxy's own page is one; without them none is named."""
        self.assertEqual(self.path("notes.txt", listing=True), "/")
        self.assertEqual(self.path("notes.txt"), "/wsproxy/")
        self.assertIsNone(self.path("notes.txt", own=False))
