"""Builds rebind.so and the programs of these tests, and runs programs under it to their end.

A test without a compiler is skipped, or fails where C{WSPROXY_REQUIRE_ALL} is set.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from twisted.trial.unittest import SkipTest, SynchronousTestCase

__all__ = ["PRELUDE", "SECONDS", "SOURCE", "ProgramTestCase", "Reports"]

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "rebind"
SECONDS = 30
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", "-g")

PRELUDE = """
import json, os, socket, sys

OLD = int(sys.argv[1])


def tcp(family=socket.AF_INET, v6only=False, protocol=0):
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    return made


def truth(listener):
    "Where a listening socket is, as the kernel's own table in /proc has it."
    inode = str(os.fstat(listener.fileno()).st_ino)
    for family, table in (socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6"):
        for line in open("/proc/self/net/" + table).readlines()[1:]:
            if line.split()[9] == inode:
                host, port = line.split()[1].split(":")
                words = [int(host[at:at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)]
                return [socket.inet_ntop(family, b"".join(words)), int(port, 16)]


def answer(value):
    print(json.dumps(value))
"""


class Reports:
    """A unix datagram socket for C{REBIND_NOTIFY}, at a path or, with C{@}, at an abstract C{name}."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def received(self) -> list[list[str]]:
        """The fields of each report that has come in."""
        reports: list[list[str]] = []
        while True:
            try:
                line = self.socket.recv(1000, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return reports
            reports.append(line.decode("ascii").removesuffix("\n").split(" "))


class ProgramTestCase(SynchronousTestCase):
    """
    @ivar library: the path of rebind.so.
    @ivar old: a port to move, free for sockets with SO_REUSEADDR.
    @ivar new: another such port, to move it to.
    """

    def setUp(self) -> None:
        if shutil.which(os.environ.get("CC", "cc")) is None or shutil.which("make") is None:
            self.missing("a C compiler and make are needed")
        self.library = _library("rebind.so")
        self.old = self.freePort()
        self.new = self.freePort()

    def missing(self, reason: str) -> NoReturn:
        """End this test: something that it needs is not on this machine."""
        if os.environ.get("WSPROXY_REQUIRE_ALL"):
            raise self.failureException(reason)
        raise SkipTest(reason)

    def freePort(self) -> int:
        """A port, of both families, that the kernel gives to nobody else until the end of the test."""
        holder = socket.socket(socket.AF_INET6)
        self.addCleanup(holder.close)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.bind(("::", 0))
        return int(holder.getsockname()[1])

    def reports(self, *, abstract: bool = False) -> Reports:
        """A place for reports that lasts as long as the test."""
        directory = self.temporaryDirectory()
        made = Reports(f"@{directory}/reports" if abstract else f"{directory}/reports")
        self.addCleanup(made.socket.close)
        return made

    def temporaryDirectory(self) -> str:
        """A directory with a short name, removed after the test."""
        directory = tempfile.TemporaryDirectory(prefix="rebind-")
        self.addCleanup(directory.cleanup)
        return directory.name

    def execute(self, *command: str, preload: str | None = None, **variables: str) -> str:
        """
        Run a command with these environment variables to its end: exit status 0, nothing on stderr.

        @param preload: what to preload instead of rebind.so; C{""} for nothing.
        @return: its stdout.
        """
        done = subprocess.run(
            command,
            check=False,
            env=self.environment(preload=preload, **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{command}\n{done.stdout}")
        return done.stdout

    def environment(self, *, preload: str | None = None, **variables: str) -> dict[str, str]:
        """Our own environment, with rebind.so and no settings for it but C{variables}."""
        environment = {
            name: value for name, value in os.environ.items() if name != "LD_PRELOAD" and not name.startswith("REBIND_")
        }
        if preload != "":
            environment["LD_PRELOAD"] = preload or self.library
        return environment | variables

    def answer(self, script: str, *, preload: str | None = None, **variables: str) -> Any:
        """Run a Python script, which knows L{old} as C{OLD}; returns what it gave to C{answer()}."""
        command = (sys.executable, "-S", "-c", PRELUDE + script, str(self.old))
        return json.loads(self.execute(*command, preload=preload, **variables))

    def move(self, script: str, new: int | None = None, **variables: str) -> Any:
        """The answer of a script whose port L{old} is moved, to C{new} if given."""
        if new is not None:
            variables["REBIND_NEW_PORT"] = str(new)
        return self.answer(script, REBIND_OLD_PORT=str(self.old), **variables)

    def program(self, name: str, *options: str) -> str:
        """The path of one of the C programs beside this file, compiled."""
        return _program(name, options)

    def sanitizedLibrary(self) -> str:
        """What to preload for rebind.so under AddressSanitizer and UndefinedBehaviorSanitizer."""
        compiler = os.environ.get("CC", "cc")
        runtime = subprocess.check_output([compiler, "-print-file-name=libasan.so"], text=True).strip()
        if not os.path.isabs(runtime):
            self.missing("libasan is needed")
        return f"{runtime}:{_library('rebind-asan.so')}"


@cache
def _library(name: str) -> str:
    _build("make", "-s", "-C", str(SOURCE), {"rebind.so": "all", "rebind-asan.so": "asan"}[name])
    return str(SOURCE / name)


@cache
def _built() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="rebind-programs-")


@cache
def _program(name: str, options: tuple[str, ...]) -> str:
    path = os.path.join(_built().name, "-".join((name, *options)).replace("/", "-"))
    _build(os.environ.get("CC", "cc"), *WARNINGS, *options, "-o", path, str(HERE / f"{name}.c"))
    return path


def _build(*command: str) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout}")
