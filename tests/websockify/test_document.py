"""docs/from-websockify.rst, and the command lines that are around."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

from tests.websockify.test_options import ORIGINAL
from wsproxy.config import Config
from wsproxy.websockify.options import parse
from wsproxy.websockify.translation import translate

DOCUMENT = Path(__file__).parents[2] / "docs" / "from-websockify.rst"

# As they stand in start scripts and images: noVNC's, Debian's, Jupyter's, linuxserver's, OpenStack's.
LINES = [
    "--web=/usr/share/novnc/ --cert=/etc/ssl/novnc.pem 6080 localhost:5901",
    "-D --web=/usr/share/novnc/ --cert=/root/novnc.pem 6080 localhost:5901",
    "--web /usr/share/novnc 0.0.0.0:6080 127.0.0.1:5900 --heartbeat 30 --idle-timeout 60 --record /tmp/session",
    "-v --web /usr/share/novnc --heartbeat 30 6901 --unix-target /run/vnc -- /bin/sh -c 'cd / && vncserver -fg'",
    "--verbose --heartbeat=30 6901 -- /bin/sh -c 'vncserver -localhost -rfbport 6901 -fg'",
    "--unix-listen /run/novnc.sock --unix-listen-mode 0660 localhost:5900",
    "--unix-listen=/run/novnc.sock --unix-target=/run/vnc.sock",
    "--token-plugin TokenFile --token-source /tmp 6080",
    "--target-config=/tmp --host-token 6080",
    "--token-plugin=ReadOnlyTokenFile --token-source=/tmp [::]:6080 -6 --libserver",
    "5901 --wrap-mode=ignore -- vncserver -geometry 1024x768 :1",
    "2023 --wrap-mode=respawn -- telnetd -debug 2023",
    "--log-file=/tmp/novnc.log --syslog /dev/log --legacy-syslog 6080 vnc.example:5900",
    "--run-once --timeout 15 6080 localhost:5900",
]


def asConfig(line: str) -> Config:
    return translate(parse(shlex.split(line))).config


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tree = publish_doctree(DOCUMENT.read_text(), settings_overrides={"report_level": 5})

    def test_everyOption(self) -> None:
        """Every option of websockify 0.13 has its row, and no other has one."""
        [body] = self.tree.findall(nodes.tbody)
        cells = [next(row.findall(nodes.entry)) for row in body.findall(nodes.row)]
        named = {literal.astext() for cell in cells for literal in cell.findall(nodes.literal)}
        self.assertEqual(named, set(ORIGINAL) - {"-h", "--help"})

    def test_commands(self) -> None:
        """The command lines in it are understood."""
        folder = self.mktemp()
        os.makedirs(folder)
        found = []
        for block in self.tree.findall(nodes.literal_block):
            for line in block.astext().splitlines():
                match = re.fullmatch(r"(?:websockify|python3 -m wsproxy\.websockify) (.*)", line)
                if match:
                    words = match[1].replace("/usr/share/novnc", folder).replace("/etc/tokens", folder)
                    found.append(asConfig(words).listening.listen)
        self.assertEqual(found, [("6080",)] * 4)


class LineTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Command lines that are around are understood."""
        folder = self.mktemp()
        os.makedirs(folder)
        for line in LINES:
            config = asConfig(re.sub(r"/usr/share/novnc/?", folder, line))
            self.assertTrue(config.listening.listen, line)
