"""A real desktop: Xtigervnc, and a terminal on it that waits for a line."""

from __future__ import annotations

import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.components import requireComponent
from tests.e2e.picture import Picture
from tests.integration.twistd import Running, start

__all__ = ["ROOT_COLOUR", "WINDOW_COLOUR", "Desktop", "Terminal", "startDesktop"]

SIZE = "640x400"
ROOT_COLOUR = 0xFFFFFF
WINDOW_COLOUR = 0x204060
FIRST_PORT = 5900
"""Display :n has TCP port 5900 + n."""

_RECORD = 'read -r line; printf %s "$line" > typed'


@dataclass(frozen=True)
class Terminal:
    """A window in the middle of the desktop, gone when a line was typed into it."""

    process: Running

    async def typed(self) -> str:
        """The line, once it has been typed."""
        await self.process.end()
        return (self.process.directory / "typed").read_text()


@dataclass(frozen=True)
class Desktop:
    """@ivar port: where it speaks RFB on 127.0.0.1."""

    port: int

    def startTerminal(self, test: TestCase) -> Terminal:
        """Open a window on it, of which C{WINDOW_COLOUR} is most, under the middle of the desktop."""
        look = ["-geometry", "80x20+70+60", "-fn", "fixed", "-bg", f"#{WINDOW_COLOUR:06x}", "-fg", "white"]
        command = [requireComponent("xterm"), *look, "-e", "sh", "-c", _RECORD]
        return Terminal(start(test, command, DISPLAY=f":{self.port - FIRST_PORT}"))

    def picture(self) -> Deferred[Picture]:
        """What it shows now, as it tells a client of ours."""
        return deferToThread(_picture, self.port)


async def startDesktop(test: TestCase, password: str = "") -> Desktop:
    """
    Start an empty desktop on the first free display.

    @param password: of the protocol's own authentication; C{""} for none.
    @raise SkipTest: Xtigervnc is not installed.
    """
    server = requireComponent("Xtigervnc")
    options = ["-localhost", "-geometry", SIZE, "-depth", "24", "-wr"]
    process = start(test, [server, "-displayfd", "1", *options, *_security(test, password)])
    listening = await process.line(r"Listening for VNC connections .* port (\d+)")
    await process.line(r"^\d+$")  # the display's number: it is ready for programs
    test.addCleanup(lambda: Deferred.fromCoroutine(process.stop()))  # killed, it would leave its lock behind
    return Desktop(int(listening[1]))


def _security(test: TestCase, password: str) -> list[str]:
    """The options for a password, or none."""
    if not password:
        return ["-SecurityTypes", "None"]
    command = [requireComponent("tigervncpasswd", "vncpasswd"), "-f"]
    kept = subprocess.run(command, input=password.encode() + b"\n", stdout=subprocess.PIPE, check=True)
    path = Path(test.mktemp()).absolute()
    path.write_bytes(kept.stdout)
    return ["-SecurityTypes", "VncAuth", "-PasswordFile", str(path)]


def _picture(port: int) -> Picture:
    """RFC 6143, as little of it as brings the whole framebuffer in the raw encoding."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        connection.makefile("rwb") as stream,
    ):

        def say(layout: str, *values: int | bytes) -> None:
            stream.write(struct.pack(f">{layout}", *values))
            stream.flush()

        def hear(layout: str) -> tuple[int, ...]:
            return struct.unpack(f">{layout}", stream.read(struct.calcsize(f">{layout}")))

        hear("12x")  # the server's version
        say("12s", b"RFB 003.008\n")
        (kinds,) = hear("B")
        hear(f"{kinds}x")
        say("B", 1)  # security type None
        hear("I")
        say("B", 1)  # shared
        width, height, name = hear("HH16xI")
        hear(f"{name}x")
        say("B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 0, 8, 16)  # red first, one byte each
        say("BxHi", 2, 1, 0)  # raw only
        say("BBHHHH", 3, 0, 0, 0, width, height)
        _, rectangles = hear("BxH")
        pixels = bytearray(width * height * 4)
        for _ in range(rectangles):
            x, y, columns, rows, _ = hear("HHHHi")
            for row in range(y, y + rows):
                begin = (row * width + x) * 4
                pixels[begin : begin + columns * 4] = stream.read(columns * 4)
        return Picture.fromBytes(width, height, bytes(pixels))
