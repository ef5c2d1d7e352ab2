"""The settings of one proxy as a frozen value: what the command line, a file or an embedder decided.

No Twisted in here. Times are in seconds, sizes in bytes, paths absolute. Parsing and complaints are tap's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Config", "TLSConfig", "asPlain", "fromPlain"]


@dataclass(frozen=True, slots=True)
class TLSConfig:
    """Files and limits of the TLS side. C{minimum} is C{"tlsv1_2"} or C{"tlsv1_3"}."""

    certificate: str
    key: str | None = None
    password: str | None = None
    minimum: str = "tlsv1_2"
    ciphers: str | None = None
    verifyClient: bool = False
    authorities: str | None = None

    def __repr__(self) -> str:
        return f"<TLSConfig {self.certificate}>"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything C{twistd websockify} can be told; each field is one option of the command line.

    @ivar target: C{None} only where a resolver or a wrapped program takes its place.
    @ivar program: a program to run, and its arguments; its port is that of C{listen}, or all its ports are listened on.
    @ivar wrapMode: C{"exit"}, C{"ignore"} or C{"respawn"}.
    @ivar everyPort: listen wherever the program does.
    """

    listen: tuple[str, ...] = ("6080",)
    target: str | None = None
    program: tuple[str, ...] = ()
    wrapMode: str = "exit"
    everyPort: bool = False
    raw: bool = False
    rawAfter: float = 1.0
    tls: TLSConfig | None = None
    tlsOnly: bool = False
    targetTLS: bool = False
    targetAuthorities: str | None = None
    targetInsecure: bool = False
    web: str | None = None
    index: str = "index.html"
    webListing: bool = False
    pages: bool = True
    flashPolicy: bool = True
    runOnce: bool = False
    timeout: float = 0.0
    idleTimeout: float = 0.0
    heartbeat: float = 25.0
    connectTimeout: float = 10.0
    handshakeTimeout: float = 10.0
    drain: float = 0.0
    subprotocols: tuple[str, ...] = ()
    text: bool = False
    origins: tuple[str, ...] = ()
    pump: bool = True
    record: str | None = None
    recordMaxSize: int = 0
    recordKeep: int = 0
    recordRequired: bool = False
    verbose: bool = False
    traffic: bool = False
    workers: int = 1


def asPlain(config: Config) -> dict[str, Any]:
    """@return: the settings as JSON can say them, secrets included."""
    return asdict(config)


def fromPlain(plain: dict[str, Any]) -> Config:
    """@param plain: what became of L{asPlain} in JSON, whose arrays are our tuples."""
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    tls = settings.pop("tls")
    return Config(**settings, tls=None if tls is None else TLSConfig(**tls))
