"""Tests of L{wsproxy.static_web.webroot}."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.static_web import webroot
from wsproxy.static_web.webroot import WebRoot


class WebRootTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.outside = Path(self.mktemp()).absolute()
        self.top = self.outside / "root"
        (self.top / "sub" / "deep").mkdir(parents=True)
        (self.top / "sub" / "file").write_bytes(b"inside")
        (self.outside / "secret").write_bytes(b"outside")
        self.root = WebRoot(str(self.top))

    def read(self, *segments: bytes) -> bytes:
        with self.root.open(segments) as file:
            return file.read()

    def link(self, name: str, target: str | Path) -> None:
        (self.top / name).symlink_to(target)

    def openDescriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def test_file(self) -> None:
        """A regular file is opened by its segments, from its first byte."""
        self.assertEqual(b"inside", self.read(b"sub", b"file"))

    def test_directory(self) -> None:
        """A directory, the root among them, is told from what does not exist."""
        for segments in ([], [b"sub"], [b"sub", b"deep"]):
            self.assertRaises(IsADirectoryError, self.root.open, segments)

    def test_segmentsThatNameNothing(self) -> None:
        """Empty, dotted, slashed, NUL and non-UTF-8 segments name nothing, even where such a file exists."""
        for name in (".hidden", "back\\slash", os.fsdecode(b"latin-\xe9")):
            (self.top / name).write_bytes(b"exists")
        (self.top / ".git").mkdir()
        (self.top / ".git" / "config").write_bytes(b"exists")
        for segments in (
            [b"sub", b""],
            [b"", b"sub", b"file"],
            [b"."],
            [b".."],
            [b"..", b"secret"],
            [b"sub", b"..", b"sub", b"file"],
            [b".hidden"],
            [b".git", b"config"],
            [b"sub/file"],
            [b"../secret"],
            [b"/etc/passwd"],
            [b"back\\slash"],
            [b"sub", b"file\0"],
            [b"sub", b"file\0.html"],
            [b"latin-\xe9"],
            [b"\xc0\xae\xc0\xae", b"secret"],
            [b"\xc0\xaf"],
            [b"\xed\xa0\x80"],
        ):
            self.assertRaises(FileNotFoundError, self.root.open, segments)

    def test_linksThatStayInside(self) -> None:
        """Links that end inside the root are followed, relative or absolute, to dotted names too."""
        (self.top / "..data").mkdir()
        (self.top / "..data" / "page").write_bytes(b"volume")
        self.link("relative", "sub/file")
        self.link("absolute", self.top / "sub" / "file")
        self.link("chain", "relative")
        self.link("folder", "sub")
        self.link("around", "../root/sub")
        self.link("page", "..data/page")
        for path in (b"relative", b"absolute", b"chain", b"folder/file", b"around/file"):
            self.assertEqual(b"inside", self.read(*path.split(b"/")))
        self.assertEqual(b"volume", self.read(b"page"))

    def test_linksThatLeave(self) -> None:
        """Links out of the root, broken ones and loops are not found, at any place in the path."""
        self.link("file", "../secret")
        self.link("absolute", self.outside / "secret")
        self.link("folder", "..")
        self.link("chain", "folder")
        self.link("nowhere", "missing")
        self.link("loop", "loop")
        sibling = self.outside / "root-not"
        sibling.mkdir()
        (sibling / "secret").write_bytes(b"outside")
        self.link("sibling", sibling)
        for segments in (
            [b"file"],
            [b"absolute"],
            [b"folder", b"secret"],
            [b"chain", b"secret"],
            [b"nowhere"],
            [b"sibling", b"secret"],
        ):
            self.assertRaises(FileNotFoundError, self.root.open, segments)
        # "folder" leaves on its way back in.
        self.assertEqual(b"inside", self.read(b"folder", b"root", b"sub", b"file"))
        self.assertRaises(OSError, self.root.open, [b"loop"])

    def test_rootIsALink(self) -> None:
        """A root that is a link is followed anew each time: a release can be switched while it is served."""
        release = self.outside / "release"
        (release / "sub").mkdir(parents=True)
        (release / "sub" / "file").write_bytes(b"released")
        current = self.outside / "current"
        current.symlink_to(self.top)
        self.root = WebRoot(str(current))
        self.assertEqual(b"inside", self.read(b"sub", b"file"))
        current.unlink()
        current.symlink_to(release)
        self.assertEqual(b"released", self.read(b"sub", b"file"))

    def swapAfterResolving(self, victim: Path, target: Path) -> None:
        """Make C{victim} a link to C{target} after the path was resolved and before it is opened."""
        resolve = os.path.realpath

        def slow(path: bytes, *, strict: bool) -> bytes:
            resolved: bytes = resolve(path, strict=strict)
            if resolved != os.fsencode(self.top) and not victim.is_symlink():
                victim.rename(victim.with_name("moved"))
                victim.symlink_to(target)
            return resolved

        self.patch(webroot.os.path, "realpath", slow)

    def test_fileSwappedForALink(self) -> None:
        """A file that becomes a link between the look and the opening is not followed."""
        self.swapAfterResolving(self.top / "sub" / "file", self.outside / "secret")
        before = self.openDescriptors()
        self.assertRaises(OSError, self.root.open, [b"sub", b"file"])
        self.assertEqual(before, self.openDescriptors())

    def test_directorySwappedForALink(self) -> None:
        """Nor is a directory on the way."""
        elsewhere = self.outside / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "file").write_bytes(b"outside")
        self.swapAfterResolving(self.top / "sub", elsewhere)
        before = self.openDescriptors()
        self.assertRaises(OSError, self.root.open, [b"sub", b"file"])
        self.assertEqual(before, self.openDescriptors())

    def test_onlyRegularFiles(self) -> None:
        """A FIFO does not block, and FIFOs, sockets and devices are not served; no descriptor stays open."""
        os.mkfifo(self.top / "fifo")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.path.relpath(self.top / "socket"))
        before = self.openDescriptors()
        self.assertRaises(OSError, self.root.open, [b"fifo"])
        self.assertRaises(OSError, self.root.open, [b"socket"])
        self.assertRaises(IsADirectoryError, self.root.open, [b"sub"])
        self.assertRaises(OSError, WebRoot("/dev").open, [b"null"])
        self.assertEqual(before, self.openDescriptors())

    def test_list(self) -> None:
        """A listing names, in order, what may be asked for, and nothing else."""
        for name in (".hidden", "b\\ack", os.fsdecode(b"latin-\xe9"), "z", "\N{SNOWMAN}"):
            (self.top / name).write_bytes(b"")
        os.mkfifo(self.top / "fifo")
        self.link("leaves", "../secret")
        self.link("broken", "missing")
        self.link("loop", "loop")
        self.link("stays", "sub")
        before = self.openDescriptors()
        self.assertEqual(["stays/", "sub/", "z", "\N{SNOWMAN}"], self.root.list([]))
        self.assertEqual(["deep/", "file"], self.root.list([b"sub"]))
        self.assertEqual([], self.root.list([b"sub", b"deep"]))
        self.assertRaises(OSError, self.root.list, [b"sub", b"file"])
        self.assertRaises(OSError, self.root.list, [b"missing"])
        self.assertRaises(OSError, self.root.list, [b".."])
        self.assertEqual(before, self.openDescriptors())
