"""The table of options: each is spelled here, and nowhere else.

::

    table ─┬─► usage     the command line ─┐
           ├─► configfile  a file         ├─► settings ─► Config, in whose groups the defaults stand
           ├─► help      --help, docs/options.rst
           └─► what shells complete

A new option is a line of a part of it (L{wsproxy.command.table}) and a field of a group; what uses the field is all
that is left to write.
"""

from __future__ import annotations

from wsproxy.command.option import Option
from wsproxy.command.table.access import ACCESS
from wsproxy.command.table.admin import ADMIN
from wsproxy.command.table.authentication import AUTHENTICATION
from wsproxy.command.table.bridge import BRIDGE
from wsproxy.command.table.cluster import CLUSTER
from wsproxy.command.table.file import FILE_OPTIONS
from wsproxy.command.table.forward import FORWARD
from wsproxy.command.table.legacy import LEGACY
from wsproxy.command.table.limits import LIMITS
from wsproxy.command.table.links import LINKS
from wsproxy.command.table.proxies import PROXIES
from wsproxy.command.table.services import SERVICES
from wsproxy.command.table.tokens import TOKENS
from wsproxy.command.table.upgrade import UPGRADE

__all__ = ["HEADINGS", "TABLE", "byHeading"]

HEADINGS = {
    "listening": "Listening",
    "target": "Target",
    "tokens": "Tokens",
    "program": "Program",
    "clients": "Clients",
    "proxies": "Who clients are",
    "sessions": "Sessions",
    "authentication": "Who may come in",
    "links": "Links and signed tokens",
    "access": "Access",
    "limits": "Limits",
    "cluster": "Cluster",
    "tls": "TLS",
    "web": "Files and pages",
    "recording": "Recording",
    "lifetime": "Ending",
    "logging": "Logging",
    "admin": "Admin side",
    "inspection": "Trying it out",
    "file": "File",
}
"""What is written above a group of L{Config<wsproxy.config.Config>}."""

_LINES = (
    *FILE_OPTIONS,
    *BRIDGE,
    *LEGACY,
    *SERVICES,
    *PROXIES,
    *AUTHENTICATION,
    *FORWARD,
    *TOKENS,
    *LINKS,
    *ACCESS,
    *LIMITS,
    *CLUSTER,
    *ADMIN,
    *UPGRADE,
)

TABLE = tuple(option for group in HEADINGS for option in _LINES if option.path[0] == group)
"""All of them, in the order of their headings."""


def byHeading() -> list[tuple[str, list[Option]]]:
    """@return: all options, under what is written above them."""
    return [(heading, [option for option in TABLE if option.path[0] == group]) for group, heading in HEADINGS.items()]
