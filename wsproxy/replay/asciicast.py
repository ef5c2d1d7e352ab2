"""Terminal sessions as asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/): a JSON object, then a line each.

What the target said becomes output, less its telnet commands. What users typed stays out: passwords are among it; of
the client's telnet commands, the window's size becomes that of the recording.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator

from wsproxy.recording.format import Entry
from wsproxy.replay.telnet import TelnetFilter, Window

__all__ = ["DEFAULT_WINDOW", "asciicast", "firstWindow"]

DEFAULT_WINDOW = Window(80, 24)


def firstWindow(entries: Iterable[Entry]) -> Window:
    """The size that the client tells first; L{DEFAULT_WINDOW} if it tells none."""
    telnet = TelnetFilter()
    for entry in entries:
        if entry.fromClient:
            telnet.feed(entry.data)
            if telnet.window is not None:
                return telnet.window
    return DEFAULT_WINDOW


def asciicast(entries: Iterable[Entry], window: Window) -> Iterator[str]:
    """
    The lines of an asciicast.

    @param window: the size to begin with.
    """
    yield json.dumps({"version": 2, "width": window.columns, "height": window.rows})
    fromTarget, fromClient = TelnetFilter(), TelnetFilter()
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    seconds = 0.0
    for entry in entries:
        seconds = entry.milliseconds / 1000
        if entry.fromClient:
            fromClient.feed(entry.data)
            if fromClient.window not in (None, window):
                window = fromClient.window
                yield json.dumps([seconds, "r", f"{window.columns}x{window.rows}"])
        else:
            text = decode(fromTarget.feed(entry.data))
            if text:
                yield json.dumps([seconds, "o", text])
    if rest := decode(b"", True):
        yield json.dumps([seconds, "o", rest])
