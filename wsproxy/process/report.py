"""What rebind says about the sockets of a wrapped program; rebind/rebind.c has the format.

One datagram is one line of ASCII::

    1 EVENT PID FAMILY ADDRESS PORT OLD-PORT OLD-ADDRESS …\\n
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

__all__ = ["REPORT_LIMIT", "Report", "parseReport"]

REPORT_LIMIT = 512
"""Bytes of the longest report that is read."""

_LINE = re.compile(
    rb"1 (?P<event>bind|listen|taken) [1-9][0-9]{0,9}"
    rb" (?:inet (?P<ipv4>127\.[0-9.]{5,11})|inet6 ::1) (?P<port>[0-9]{1,5}) (?P<old>[0-9]{1,5})"
    rb" (?P<asked>[0-9a-f.:]{2,39}|\*)(?: [!-~]+)*\n"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A socket was moved; or is to be, and its port is in use.

    @ivar event: C{"bind"}; C{"listen"}: it takes connections now; C{"taken"}: is it by us that the port is used?
    @ivar address: where it is, as a target string: C{127.1.23.13:40123} or C{[::1]:40123}.
    @ivar port: the port that the program asked for; 0 where the process that listens does not know, as another one
        has bound it: an earlier report for this address does.
    @ivar asked: where clients of the program expect it, as C{--listen} takes it.
    """

    event: str
    address: str
    port: int
    asked: str


def parseReport(datagram: bytes) -> Report | None:
    """@return: L{None} for anything but a report: other programs can write to the socket, too."""
    match = _LINE.fullmatch(datagram)
    if match is None:
        return None
    port, old, event = int(match["port"]), int(match["old"]), match["event"].decode("ascii")
    unknown = old == 0 and event == "listen" and match["ipv4"] is None
    if not (1 <= port <= 65535 and (1 <= old <= 65535 or unknown)):
        return None
    try:
        host = str(IPv4Address(match["ipv4"].decode("ascii"))) if match["ipv4"] else "[::1]"
        asked = _listen(match["asked"].decode("ascii"), old)
    except ValueError:
        return None
    return Report(event, f"{host}:{port}", old, asked)


def _listen(host: str, port: int) -> str:
    """@raise ValueError: C{host} is neither an address nor C{*}, all addresses of both families."""
    if host == "*":
        return str(port)
    return f"[{host}]:{port}" if ip_address(host).version == 6 else f"{host}:{port}"
