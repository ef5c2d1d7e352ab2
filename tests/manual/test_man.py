"""The man pages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.components import requireComponent
from wsproxy.command.options import TABLE
from wsproxy.command.wsproxy import COMMANDS
from wsproxy.manual.man import PAGES, _text, websockifyPage, wsproxyPage
from wsproxy.websockify.options import GROUPS

FOLDER = Path(__file__).parents[2] / "docs" / "man"


class PageTests(SynchronousTestCase):
    def test_current(self) -> None:
        """docs/man is what the options are. C{make man} renews it."""
        self.assertEqual({path.name for path in FOLDER.iterdir()}, set(PAGES))
        for name, page in PAGES.items():
            self.assertEqual((FOLDER / name).read_text(), page(), name)

    def test_every(self) -> None:
        """Each option is there, with its value; and each command, with what it takes."""
        page = wsproxyPage()
        for option in TABLE:
            value = f"\\fR=\\fI{_text(option.kind.placeholder)}" if option.kind.placeholder else ""
            self.assertIn(f"\\fB{_text(f'--{option.name}')}{value}\\fR\n", page, option.name)
        for name in set(COMMANDS) - {"serve"}:
            self.assertIn(f".SS wsproxy {name}\n", page)
        self.assertIn(r"\fB\-\-expires", page)
        for options in GROUPS.values():
            for word in options:
                self.assertIn(f"\\fB{_text(word.names[0])}\\fR", websockifyPage())

    def test_requests(self) -> None:
        """What troff would take for a request is none; whatever is not ASCII has a name."""
        self.assertEqual(_text(".x"), r"\&.x")
        self.assertEqual(_text("'x\\-…"), r"\&'x\e\-\[u2026]")
        for page in (make() for make in PAGES.values()):
            requests = {line.split()[0] for line in page.splitlines() if line[:1] in ".'"}
            self.assertEqual(requests - {'.\\"', ".TH", ".SH", ".SS", ".TP", ".PP", ".br"}, set())

    def test_groff(self) -> None:
        """groff has no objection, and shows them."""
        groff = requireComponent("groff")
        for name in PAGES:
            command = [groff, "-man", "-ww", "-Tutf8", str(FOLDER / name)]
            shown = subprocess.run(command, check=True, text=True, capture_output=True)
            self.assertEqual(shown.stderr, "")
            text = re.sub(r"\x1b\[\d*m|.\x08", "", shown.stdout)
            self.assertIn("--heartbeat=SEC", text)
