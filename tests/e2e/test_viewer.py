"""TigerVNC's own viewer, which knows of no WebSocket, through C{wsproxy connect -L}, to a desktop behind a proxy."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.components import requireComponent
from tests.e2e.desktop import FIRST_PORT, WINDOW_COLOUR, Desktop, startDesktop
from tests.integration.twistd import start, startTwistd

WSPROXY = str(Path(sys.executable).with_name("wsproxy"))


class ViewerTests(TestCase):
    timeout = 60

    async def shows(self, desktop: Desktop) -> None:
        """Wait until much of C{desktop} has the colour of a terminal: nothing announces what a viewer paints."""
        while (await desktop.picture()).share(WINDOW_COLOUR) < 0.2:
            await deferLater(_reactor, 0.2)  # type: ignore[arg-type]  # a module, to mypy

    async def test_viewer(self) -> None:
        """It shows the desktop, and what is typed into it arrives there."""
        viewer = requireComponent("xtigervncviewer", "vncviewer")
        xdotool = requireComponent("xdotool")
        far = await startDesktop(self)
        terminal = far.startTerminal(self)
        await self.shows(far)
        proxy = startTwistd(
            self, "--listen", "127.0.0.1:0", "--target", f"127.0.0.1:{far.port}", options=("--pidfile=",)
        )
        port = (await proxy.line(r" starting on (\d+)"))[1]
        connect = start(self, [WSPROXY, "connect", "-L", "0", f"ws://127.0.0.1:{port}/"])
        local = (await connect.line(r"listening on 127\.0\.0\.1:(\d+)"))[1]
        near = await startDesktop(self)
        display = f":{near.port - FIRST_PORT}"
        command = [viewer, "-SecurityTypes", "None", f"127.0.0.1::{local}"]
        start(self, command, DISPLAY=display, HOME=str(connect.directory))
        await self.shows(near)
        focus = ["search", "--onlyvisible", "--name", "TigerVNC", "windowfocus", "mousemove", "320", "200"]
        keys = [*focus, "type", "--delay", "30", "through it\n"]
        _, said, status = await getProcessOutputAndValue(xdotool, keys, env={"DISPLAY": display})
        self.assertEqual(status, 0, said)
        self.assertEqual(await terminal.typed(), "through it")
        self.assertEqual((await connect.stop()).status, 0)
