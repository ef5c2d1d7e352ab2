"""Who is measured, and how each is started."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.access import Access

__all__ = ["OURS", "Place", "Proxy", "givenPeers", "knownPeers", "ours"]

OURS = "wsproxy"


@dataclass(frozen=True)
class Place:
    """Where a proxy runs.

    @ivar port: of the loopback interface, to listen on.
    @ivar target: the port to lead to, there too.
    @ivar directory: its own, empty when it starts.
    @ivar certificate: a PEM file with key and certificate for wss; L{None} for ws.
    @ivar access: how clients say where they want to go; L{None} where all of them are led to the target.
    """

    port: int
    target: int
    directory: Path
    certificate: Path | None = None
    access: Access | None = None


@dataclass(frozen=True)
class Proxy:
    """
    @ivar command: what to run in a place; empty where it cannot serve there.
    @ivar websocket: whether it speaks WebSocket. One that only relays TCP shows what the machine can do.
    """

    name: str
    command: Callable[[Place], list[str]]
    websocket: bool = True


def ours(options: tuple[str, ...] = ()) -> Proxy:
    """This checkout, run by the Python that runs this. @param options: beyond the default configuration."""

    def command(place: Place) -> list[str]:
        path = f"PYTHONPATH={Path(__file__).resolve().parent.parent}"
        run = "from twisted.scripts.twistd import run; run()"
        twistd = ["env", path, sys.executable, "-c", run, "-n", "--pidfile="]
        way = ("--target", f"127.0.0.1:{place.target}") if place.access is None else place.access.options
        listen = ["--listen", f"127.0.0.1:{place.port}", *way, *options]
        secure = ["--cert", str(place.certificate)] if place.certificate else []
        return [*twistd, "websockify", *listen, *secure]

    return Proxy(OURS, command)


def knownPeers(environment: Path) -> list[Proxy]:
    """
    The peers that need no option: websockify, and what is found on PATH.

    @param environment: a virtual environment where websockify is installed.
    """

    def websockify(place: Place) -> list[str]:
        secure = [f"--cert={place.certificate}"] if place.certificate else []
        program = str(environment / "bin" / "websockify")
        return [program, *secure, f"127.0.0.1:{place.port}", f"127.0.0.1:{place.target}"]

    peers = [Proxy("websockify", websockify)]
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if haproxy is not None:
        peers.append(Proxy("HAProxy (TCP)", _haproxy(haproxy), websocket=False))
    return peers


def _haproxy(program: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        if place.certificate is not None:
            return []
        configuration = place.directory / "haproxy.cfg"
        configuration.write_text(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n"
            f"listen benchmark\n bind 127.0.0.1:{place.port}\n server target 127.0.0.1:{place.target}\n"
        )
        return [program, "-db", "-f", str(configuration)]

    return command


def givenPeers(plain: Iterable[str], secure: Iterable[str]) -> list[Proxy]:
    """
    Peers of the command line.

    @param plain: each C{NAME=COMMAND}, with C{{port}} and C{{target}} where the port numbers belong.
    @param secure: the same for wss, with C{{cert}} where the PEM file with key and certificate belongs.
    @raise ValueError: for anything else.
    """
    commands: dict[str, dict[bool, str]] = {}
    for isSecure, texts in ((False, plain), (True, secure)):
        for text in texts:
            name, equals, command = text.partition("=")
            if not (name and equals and "{port}" in command and "{target}" in command):
                raise ValueError(f"{text}: expected NAME=COMMAND, with {{port}} and {{target}} in it")
            commands.setdefault(name, {})[isSecure] = command
    return [Proxy(name, _template(variants)) for name, variants in commands.items()]


def _template(variants: dict[bool, str]) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        template = variants.get(place.certificate is not None, "")
        return [
            word.format(port=place.port, target=place.target, cert=place.certificate) for word in shlex.split(template)
        ]

    return command
