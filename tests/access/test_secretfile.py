"""Files of secrets: what is no file as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.access.secretfile import LARGEST, checkRegular, readSecretFile


class SecretFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def test_file(self) -> None:
        """A file is its text, with one kind of line end."""
        Path(self.path).write_bytes("a:é\r\nb\rc\n".encode())
        self.assertEqual(readSecretFile(self.path), "a:é\nb\nc\n")
        Path(self.path).write_bytes(b"")
        self.assertEqual(readSecretFile(self.path), "")

    def test_descriptor(self) -> None:
        """A shell's <(…) is read to its end, more than a pipe holds, too; and is the same to who reads it again."""
        script = "import os, sys; sys.path[:] = eval(sys.argv[2]); from wsproxy.access.secretfile import readSecretFile"
        script += "; first = readSecretFile(sys.argv[1]); print(len(first) * (readSecretFile(sys.argv[1]) == first))"
        command = [sys.executable, "-c", script, "/dev/fd/0", repr(sys.path)]
        for size in (10, 300_000):
            done = subprocess.run(command, input=b"x" * size, stdout=subprocess.PIPE, check=True)
            self.assertEqual(int(done.stdout), size)

    def test_nobody(self) -> None:
        """A FIFO without a writer, and one whose writer says half and no more, are given up after a while."""
        os.mkfifo(self.path)
        self.assertIn("pipe", str(self.assertRaises(OSError, readSecretFile, self.path, 0.05)))
        other = os.open(self.path, os.O_RDWR)
        self.addCleanup(os.close, other)
        os.write(other, b"half")
        self.assertIn("pipe", str(self.assertRaises(OSError, readSecretFile, self.path, 0.05)))

    def test_useless(self) -> None:
        """What is not there, never ends or is no text is told."""
        self.assertRaises(FileNotFoundError, readSecretFile, self.path)
        self.assertRaises(IsADirectoryError, readSecretFile, "/")
        self.assertIn(f"{LARGEST >> 20} MiB", str(self.assertRaises(OSError, readSecretFile, "/dev/zero")))
        Path(self.path).write_bytes(b"\xff")
        self.assertRaises(ValueError, readSecretFile, self.path)

    def test_regular(self) -> None:
        """What is read again and again is a file."""
        self.assertRaises(FileNotFoundError, checkRegular, self.path)
        Path(self.path).touch()
        checkRegular(self.path)
        os.remove(self.path)
        os.mkfifo(self.path)
        for path in (self.path, "/dev/zero", "/"):
            self.assertRaises(OSError, checkRegular, path)
