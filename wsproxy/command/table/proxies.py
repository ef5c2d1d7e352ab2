"""The options about who clients are: behind proxies in front, and for targets."""

from __future__ import annotations

from wsproxy.access.proxyheader import VERSIONS
from wsproxy.command.kinds import CLIENTS, PROXY, choice
from wsproxy.command.option import Option

__all__ = ["PROXIES"]

PROXIES = (
    Option(
        "allow", "proxies.allow", CLIENTS,
        "Let in clients of this address or network, and no others; unix: those of unix sockets. It goes by the real "
        "client, and covers pages, too.",
        repeatable=True,
    ),
    Option(
        "trusted-proxy", "proxies.trusted", PROXY,
        "Believe X-Forwarded-For, -Host and -Proto of proxies of this address or network, or unix: those of unix "
        "sockets. With forwarded: before it, Forwarded (RFC 7239) instead; with proxy: before it, each connection from "
        "there must begin with a PROXY header, v1 or v2.",
        repeatable=True,
    ),
    Option(
        "send-proxy", "proxies.send", choice(*VERSIONS),
        "Tell targets of their clients, in a PROXY header of this version before everything else.",
    ),
)  # fmt: skip
