"""
What becomes of the Dockerfile where there is no Docker: its steps are run on a Debian that mmdebstrap makes, and what
it starts is process 1 of namespaces of its own. Layers, caches and the network of a container are not imitated.

Nothing of this machine is within reach of a step, to be written: packages bring scripts that take /etc for theirs.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.machine import _CLIENT as CLIENT
from tests.integration.twistd import ROOT

__all__ = ["Container", "Image", "build", "instructions"]

_FILES = """
set -e
mount -t tmpfs -o mode=755 devices "$1/dev"
for each in null zero full random urandom; do
    : >"$1/dev/$each"
    mount --bind "/dev/$each" "$1/dev/$each"
done
ln -s /proc/self/fd "$1/dev/fd"
mount -t proc proc "$1/proc"
"""

_STEP = f"""{_FILES}
mount -t tmpfs -o mode=755 trusted "$1/run"
[ -z "$PIP_CERT" ] || cp "$PIP_CERT" "$1/run/trusted.pem"
export PIP_CERT=${{PIP_CERT:+/run/trusted.pem}}
exec chroot "$1" /bin/sh -c "$2"
"""
"""A step has the network of this machine, and a copy of whom that trusts."""

_START = f"""{_FILES}
ip link set lo up
user=$2; folder=$1; shift 2
exec /usr/sbin/chroot --userspec="$user" "$folder" "$@"
"""

_SETTINGS = ("PIP_INDEX_URL", "PIP_CERT", "https_proxy", "http_proxy", "no_proxy")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a Dockerfile: each instruction and its arguments."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


@dataclass
class Image:
    """
    @ivar folder: its files.
    @ivar health: the command of its health check.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def run(self, command: str) -> str:
        """As root, with the network of this machine. @return: what it says. @raise AssertionError: it fails."""
        given = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        words = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", _STEP, "step", str(self.folder), command]
        done = subprocess.run(
            words,
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, **given, **self.environment},
        )
        if done.returncode:
            raise AssertionError(f"{command}: status {done.returncode}: {done.stdout}")
        return done.stdout

    def copy(self, source: Path, target: str) -> None:
        place = self.folder / target.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True)
        else:
            shutil.copy(source, place)


def build(text: str, base: Path, context: Path, folder: Path) -> dict[str, Image]:
    """
    Do what this Dockerfile says.

    @param base: the files of what it begins FROM.
    @param context: what COPY copies from.
    @param folder: where images go.
    @return: by the names of their stages; the last one is C{""}.
    """
    images: dict[str, Image] = {}
    for word, rest in instructions(text):
        if word == "FROM":
            name, _, stage = rest.partition(" AS ")
            assert name == "debian:bookworm-slim", name
            image = images[stage] = Image(folder / (stage or "last"))
            subprocess.run(["cp", "-a", base, image.folder], check=True)
        elif word == "RUN":
            image.run(rest)
        elif word == "COPY":
            *options, source, target = rest.split()
            if options:
                image.copy(images[options[0].removeprefix("--from=")].folder / source.lstrip("/"), target)
            else:
                [found] = glob.glob(str(context / source))
                image.copy(Path(found), target)
        elif word == "ENV":
            image.environment.update(each.split("=", 1) for each in shlex.split(rest))
        elif word == "USER":
            image.user = rest
        elif word == "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        elif word == "CMD":
            image.command = json.loads(rest)
        elif word == "HEALTHCHECK":
            image.health = json.loads(rest.partition("CMD ")[2])
        else:
            assert (word, rest) in (("WORKDIR", "/"), ("EXPOSE", "6080")), (word, rest)
    return images


class Container:
    """
    An image that runs.

    @param arguments: in place of its CMD.
    @ivar pid: what its process 1 is outside.
    """

    def __init__(self, image: Image, *arguments: str) -> None:
        self.image = image
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", _START, "container"]
        words += [str(image.folder), image.user, *image.entrypoint, *(arguments or image.command)]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**image.environment, "HOME": "/nonexistent"},
        )
        self.said = ""

    def line(self, words: str) -> None:
        """Wait until it has said this. @raise AssertionError: it has ended before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"no {words!r} in {self.said}")

    @property
    def pid(self) -> int:
        [pid] = _children(self._process.pid)
        return pid

    def processes(self) -> list[int]:
        """All in it but its first, whatever they are to each other."""
        found, look = [], [self.pid]
        while look:
            below = _children(look.pop())
            found += below
            look += below
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As C{docker exec} would."""
        enter = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--"]
        inside = ["/usr/sbin/chroot", f"--userspec={self.image.user}", str(self.image.folder), *words]
        environment = {**self.image.environment, "HOME": "/nonexistent"}
        return subprocess.run([*enter, *inside], check=False, text=True, capture_output=True, env=environment)

    def greeting(self, url: str) -> str:
        """@return: the first line that a WebSocket client is told, from outside of it."""
        words = ["nsenter", "--target", str(self.pid), "--net", sys.executable, "-c", CLIENT, url, ""]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(words, check=True, text=True, capture_output=True, env=environment).stdout

    def end(self, number: int) -> int:
        """Signal its process 1, as C{docker stop} does. @return: the exit status."""
        os.kill(self.pid, number)
        self.said += self._process.communicate(timeout=30)[0]
        return self._process.returncode

    def close(self) -> None:
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)  # and the kernel does so to all the others
        self._process.communicate()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
