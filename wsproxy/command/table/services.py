"""The options of service managers, which have a socket before they have a proxy."""

from __future__ import annotations

from wsproxy.command.kinds import ON
from wsproxy.command.option import Option

__all__ = ["SERVICES"]

SERVICES = (
    Option(
        "inetd", "listening.inetd", ON,
        "Serve the socket on stdin instead of --listen: one that listens, or one that is connected, for that one "
        "client. Nothing is printed to stdout.",
        alone=True,
    ),
)  # fmt: skip
