"""A real proxy in front of what a browser is to reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.certificates import Authority
from tests.integration.twistd import Running, startTwistd

__all__ = ["Proxy", "certify", "startProxy"]


@dataclass(frozen=True)
class Proxy:
    """A running C{twistd websockify} and its port on 127.0.0.1."""

    process: Running
    port: int

    def url(self, scheme: str, path: str = "/") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"


async def startProxy(test: TestCase, *arguments: str, **environment: str) -> Proxy:
    """Start one with these arguments of C{websockify}, and wait until it listens."""
    process = startTwistd(test, "--listen", "127.0.0.1:0", *arguments, **environment)
    listening = await process.line(r"Listening on 127\.0\.0\.1:(\d+)")
    return Proxy(process, int(listening[1]))


def certify(path: Path, name: str) -> Path:
    """Write a certificate for C{name}, and its key; no browser knows who issued it."""
    path.write_bytes(Authority().issue(name, "127.0.0.1").both)
    return path
