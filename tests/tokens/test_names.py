"""Tokens that are names in a directory."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Target
from wsproxy.tokens.names import TokenFileName, UnixDomainSocketDirectory


class NamesTestCase(SynchronousTestCase):
    """A directory, and things beside it."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()  # with a path that is short enough for sockets
        self.addCleanup(temporary.cleanup)
        self.outside = Path(temporary.name).resolve()
        self.path = self.outside / "consoles"
        self.path.mkdir()


class FileNameTests(NamesTestCase):
    """Files that hold targets."""

    def setUp(self) -> None:
        super().setUp()
        (self.path / "red").write_text("db.example:5900\n")
        (self.outside / "secret").write_text("db.example:22")
        self.tokens = TokenFileName(str(self.path))

    def test_found(self) -> None:
        """The file of that name holds a target of any kind; what it holds now."""
        self.assertEqual(self.tokens.lookup("red"), Target("db.example:5900", sockets=True))
        (self.path / "red").write_text("unix_socket:/run/x.sock")
        self.assertEqual(self.tokens.lookup("red"), Target("unix:/run/x.sock", sockets=True))
        (self.path / "bücher").write_text(" [::1]:1 proxy=v2 ")
        self.assertEqual(self.tokens.lookup("bücher"), Target("[::1]:1", proxyHeader="v2", sockets=True))

    def test_unknown(self) -> None:
        """A name of nothing, of what is no file, and of an empty one are unknown."""
        (self.path / "directory").mkdir()
        os.mkfifo(self.path / "fifo")
        (self.path / "empty").write_text(" \n")
        for token in ("blue", "directory", "fifo", "empty", "x" * 255, "x" * 256, "x" * 1_000_000, "\udcff", "\ud800"):
            self.assertIsNone(self.tokens.lookup(token))
            self.assertFalse(self.tokens.stillGood(token))

    def test_elsewhere(self) -> None:
        """No token leads out of the directory, however it is spelled and linked."""
        (self.path / ".hidden").write_text("db.example:1")
        (self.path / "link").symlink_to(self.outside / "secret")
        (self.path / "up").symlink_to("..")
        (self.path / "round").symlink_to("round")
        (self.outside / "consoles2").mkdir()
        (self.outside / "consoles2" / "other").write_text("db.example:1")
        (self.path / "sibling").symlink_to(self.outside / "consoles2" / "other")
        for token in (
            *("", ".", "..", "../secret", str(self.outside / "secret"), "/etc/passwd", "x/../red", "./red", "red/"),
            *(".hidden", "link", "up", "up/secret", "round", "sibling", "red\0", "\0", "red\n"),
        ):
            self.assertIsNone(self.tokens.lookup(token), token)

    def test_linked(self) -> None:
        """A link within the directory is followed, as Kubernetes makes them; so is the directory's own."""
        (self.path / "..data").mkdir()
        (self.path / "..data" / "green").write_text("db.example:2")
        (self.path / "green").symlink_to("..data/green")
        self.assertEqual(str(self.tokens.lookup("green")), "db.example:2")
        (self.outside / "link").symlink_to(self.path)
        self.assertEqual(str(TokenFileName(str(self.outside / "link")).lookup("red")), "db.example:5900")

    def test_nonsense(self) -> None:
        """A file that holds no target is not the client's fault; nor is a long one read."""
        for text in ("db.example", "a:1\nb:2", "x" * 5000, "\0"):
            (self.path / "bad").write_text(text)
            self.assertEqual(self.assertRaises(Refusal, self.tokens.lookup, "bad").status, 503)
            self.assertTrue(self.tokens.stillGood("bad"))

    def test_noDirectory(self) -> None:
        """It takes a directory."""
        for path in (self.path / "red", self.path / "nothing"):
            error = self.assertRaises(ConfigError, TokenFileName, str(path))
            self.assertIn(f"--token-source {path}: No", str(error))


class SocketTests(NamesTestCase):
    """Sockets."""

    def setUp(self) -> None:
        super().setUp()
        (self.path / "vm1").mkdir()
        for path in (self.path / "x.sock", self.path / "vm1" / "console", self.outside / "x.sock"):
            self.bind(path)
        self.tokens = UnixDomainSocketDirectory(str(self.path))

    def bind(self, path: Path) -> None:
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(path))

    def test_found(self) -> None:
        """A socket in the directory, or below it."""
        self.assertEqual(self.tokens.lookup("x.sock"), Target(f"unix:{self.path}/x.sock", sockets=True))
        self.assertEqual(str(self.tokens.lookup("vm1/console")), f"unix:{self.path}/vm1/console")
        self.assertTrue(self.tokens.stillGood("x.sock"))

    def test_unknown(self) -> None:
        """What is no socket is unknown, as is what is not there."""
        (self.path / "file").touch()
        for token in ("y.sock", "vm1", "file", "x" * 256, "a/" * 500_000, "x" * 1_000_000, "\udcff.sock", "\ud800"):
            self.assertIsNone(self.tokens.lookup(token))
            self.assertFalse(self.tokens.stillGood(token))

    def test_elsewhere(self) -> None:
        """No token leads out of the directory, however it is spelled and linked."""
        (self.path / "link.sock").symlink_to(self.outside / "x.sock")
        (self.path / "inside.sock").symlink_to("x.sock")
        (self.path / "up").symlink_to("..")
        (self.path / "vm2").symlink_to("vm1")
        (self.outside / "consoles2").mkdir()
        self.bind(self.outside / "consoles2" / "x.sock")
        for token in (
            *("../x.sock", "vm1/../../x.sock", "vm1/../x.sock", "./x.sock", "x.sock/", "//x.sock", "vm1//console"),
            *(str(self.outside / "x.sock"), str(self.path / "x.sock"), "../consoles2/x.sock", "2/x.sock"),
            *("link.sock", "inside.sock", "up/x.sock", "vm2/console", "x.sock\0", "\0", "x.sock\n", "", ".", ".."),
        ):
            self.assertIsNone(self.tokens.lookup(token), token)

    def test_tooLong(self) -> None:
        """A path that is too long for a socket's is not cut: it is none."""
        (self.path / ("y" * 120)).touch()
        self.assertIsNone(self.tokens.lookup("y" * 120))

    def test_directory(self) -> None:
        """The directory may come later, but it is none if it is something else."""
        tokens = UnixDomainSocketDirectory(str(self.path / "later"))
        self.assertIsNone(tokens.lookup("x.sock"))
        (self.path / "later").mkdir()
        self.bind(self.path / "later" / "x.sock")
        self.assertIsNotNone(tokens.lookup("x.sock"))
        self.assertRaises(ConfigError, UnixDomainSocketDirectory, str(self.path / "x.sock"))
