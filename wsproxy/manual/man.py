"""The man pages: C{make man} writes them to C{docs/man}, C{python -m wsproxy.manual.man FOLDER} anywhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from wsproxy import __version__
from wsproxy.manual.entry import Entry, Section, ofCommands, ofWebsockify, ofWsproxy

__all__ = ["PAGES", "websockifyPage", "wsproxyPage"]

_WSPROXY = """\
wsproxy relays between WebSocket clients and any TCP or unix-socket server: one port speaks WebSocket, HTTP and TLS.
LISTEN and TARGET are --listen and --target. The target may also be PROGRAM, which is started, and whose port is moved
out of the way.

For a first look: wsproxy 6080 demo: and a browser at http://localhost:6080/.

Options may stand anywhere before --, and each may be given once, unless it is repeatable. Seconds may have a fraction.
"""

_WEBSOCKIFY = """\
websockify relays between WebSocket clients and a TCP or unix-socket server. It is wsproxy with the command line of
websockify 0.13: what differs, and why, is in docs/from-websockify.rst of its sources. Pages of any origin may connect,
which wsproxy checks.

Options may stand anywhere before --, by any unique beginning of their names; of two values the last counts.
"""

_STATUS = """\
0 after a graceful end; 1 where it cannot start; 2 for wrong words; where PROGRAM ended it, that one's; 128 and the
number of the signal where a second one ended it at once.
"""

_SIGNALS = """\
SIGTERM and SIGINT end it gracefully, a second one at once. SIGHUP reads the certificates anew, SIGUSR1 opens the log
file anew.
"""


def wsproxyPage() -> str:
    """@return: C{wsproxy.1}."""
    commands = "".join(
        f".SS wsproxy {_text(name)}\n{_paragraph(line)}" + "".join(map(_entry, entries))
        for name, line, entries in ofCommands()
    )
    return _page(
        "wsproxy",
        "WebSocket, HTTP and TLS on one port, in front of any TCP server",
        (
            r"\fBwsproxy\fR [\fBserve\fR] [\fIOPTIONS\fR] [\fILISTEN\fR [\fITARGET\fR]] "
            r"[\fB\-\-\fR \fIPROGRAM\fR [\fIARGS\fR ...]]",
            r"\fBwsproxy\fR \fICOMMAND\fR [\fIOPTIONS\fR]",
        ),
        _WSPROXY,
        ofWsproxy(),
        f".SH COMMANDS\n{commands}",
        "websockify(1), twistd(1)",
    )


def websockifyPage() -> str:
    """@return: C{websockify.1}."""
    places = r"[\fIHOST\fR:]\fIPORT\fR"
    return _page(
        "websockify",
        "WebSocket to TCP, with the command line of websockify",
        (
            rf"\fBwebsockify\fR [\fIOPTIONS\fR] {places} \fIHOST\fR:\fIPORT\fR",
            rf"\fBwebsockify\fR [\fIOPTIONS\fR] \fB\-\-token\-plugin\fR=\fICLASS\fR {places}",
            rf"\fBwebsockify\fR [\fIOPTIONS\fR] \fB\-\-unix\-target\fR=\fIFILE\fR {places}",
            rf"\fBwebsockify\fR [\fIOPTIONS\fR] {places} \fB\-\-\fR \fIPROGRAM\fR [\fIARGS\fR ...]",
        ),
        _WEBSOCKIFY,
        ofWebsockify(),
        "",
        "wsproxy(1)",
    )


PAGES = {"wsproxy.1": wsproxyPage, "websockify.1": websockifyPage}


def _page(
    name: str,
    what: str,
    synopsis: Iterable[str],
    description: str,
    sections: Iterable[Section],
    commands: str,
    others: str,
) -> str:
    forms = ".br\n".join(f"{line}\n" for line in synopsis)
    options = "".join(f".SS {_text(heading)}\n" + "".join(map(_entry, entries)) for heading, entries in sections)
    return (
        f'.\\" Made by make man.\n.TH {name.upper()} 1 "" "wsproxy {__version__}"\n'
        f".SH NAME\n{name} \\- {_text(what)}\n"
        f".SH SYNOPSIS\n{forms}"
        f".SH DESCRIPTION\n{_paragraphs(description)}"
        f".SH OPTIONS\n{options}{commands}"
        f".SH EXIT STATUS\n{_paragraphs(_STATUS)}.SH SIGNALS\n{_paragraphs(_SIGNALS)}"
        f".SH SEE ALSO\n{_text(others)}\n"
    )


def _entry(entry: Entry) -> str:
    value = f"\\fI{_text(entry.placeholder)}\\fR" if entry.placeholder else ""
    names = [
        f"\\fB{_text(name)}\\fR{'=' if value and name.startswith('--') else ' ' if value else ''}{value}"
        for name in entry.names
    ]
    return f".TP\n{', '.join(names)}\n{_wrapped(entry.help)}"


def _paragraphs(text: str) -> str:
    return ".PP\n".join(map(_paragraph, text.split("\n\n")))


def _paragraph(text: str) -> str:
    return _wrapped(" ".join(text.split()))


def _wrapped(text: str) -> str:
    """A line must not begin with what troff takes for a request."""
    lines = fill(text, 110, break_on_hyphens=False, break_long_words=False).splitlines()
    return "".join(f"{_text(line)}\n" for line in lines)


def _text(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return f"\\&{text}" if text[:1] in (".", "'") else text


if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(sys.argv[1]) / name).write_text(page(), encoding="ascii")
