"""The table of options, and all that is made of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

from docutils.core import publish_doctree
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.help import asDocument, asHelp
from wsproxy.command.options import HEADINGS, TABLE
from wsproxy.command.usage import Options
from wsproxy.config import GROUPS

DOCUMENT = Path(__file__).parents[2] / "docs" / "options.rst"
NO_OPTION = {
    ("program", "words"),
    ("program", "address"),
    ("sessions", "originRequired"),
    ("logging", "original"),
    ("tokens", "sockets"),
}
"""Said by what follows C{--}, by C{--auth-plugin ExpectOrigin}, and by the C{websockify} command."""


class TableTests(SynchronousTestCase):
    def test_once(self) -> None:
        """Each name stands there once, and each field."""
        for names in ([option.name for option in TABLE], [option.field for option in TABLE]):
            self.assertEqual([name for name, count in Counter(names).items() if count > 1], [])

    def test_fields(self) -> None:
        """The fields are those of the groups, all of them; each group has a heading, in the order of the groups."""
        known = {(group, field.name) for group, kind in GROUPS.items() for field in fields(kind)}
        self.assertEqual({option.path for option in TABLE} | NO_OPTION, known)
        self.assertEqual(list(HEADINGS), list(GROUPS))

    def test_order(self) -> None:
        """What belongs together stands together."""
        groups = list(dict.fromkeys(option.path[0] for option in TABLE))
        self.assertEqual([option for group in groups for option in TABLE if option.path[0] == group], list(TABLE))

    def test_defaults(self) -> None:
        """A default is the field's; a flag turns it over."""
        defaults = {option.name: option.default for option in TABLE}
        self.assertEqual((defaults["heartbeat"], defaults["listen"], defaults["cert"]), (25.0, ("6080",), None))
        for option in TABLE:
            if not option.kind.placeholder:
                self.assertEqual(option.parse(1), not option.default, option.name)

    def test_commandLine(self) -> None:
        """The command line takes these options and no others, but for help and version."""
        options = Options()
        names = {word.rstrip("=") for word in options.longOpt}
        self.assertEqual(names - {"help", "version"}, {option.name for option in TABLE})
        for option in TABLE:
            self.assertIn(f"{option.name}=" if option.kind.placeholder else option.name, options.longOpt)
            if option.short:
                self.assertEqual(options.synonyms[option.short], option.name)

    def test_completion(self) -> None:
        """Shells offer what there is to choose from, and files and directories where those are wanted."""
        actions = Options.compData.optActions
        self.assertIsInstance(actions["cert"], usage.CompleteFiles)
        self.assertIsInstance(actions["web"], usage.CompleteDirs)
        self.assertIn("(exit ignore respawn)", actions["wrap-mode"]._shellCode("wrap-mode", usage._ZSH))
        self.assertEqual(set(Options.compData.multiUse), {option.name for option in TABLE if option.repeatable})
        self.assertLessEqual({"listen", "origin", "subprotocol"}, set(Options.compData.multiUse))


def names(line: str) -> list[str]:
    """What stands left of the explanation, which begins below a long name."""
    words = line.split()
    return words if len(words) == 1 else line[:31].split()


class HelpTests(SynchronousTestCase):
    def test_once(self) -> None:
        """Help has every option once, under the heading of its group."""
        sections = {part.split(":")[0]: part.split("\n") for part in asHelp(80).split("\n\n")}
        for option in TABLE:
            found = [
                heading
                for heading, lines in sections.items()
                for line in lines
                if f"--{option.name}" in (word.partition("=")[0] for word in names(line))
            ]
            self.assertEqual(found, [HEADINGS[option.path[0]]], option.name)

    def test_width(self) -> None:
        """No line is longer than the terminal is wide, but where that is hardly a terminal."""
        for width in (60, 80, 200):
            self.assertLessEqual(max(map(len, asHelp(width).splitlines())), width)
        self.assertIn("--heartbeat", asHelp(1))

    def test_defaults(self) -> None:
        """A default is said as a command line would; what has none says nothing."""
        words = " ".join(asHelp(80).split())
        for text in ("never. Default: 25. --no-pump", "endpoint. Repeatable. Default: 6080.", "again. Default: exit."):
            self.assertIn(text, words)
        self.assertIn("--ssl-target Speak TLS to the target. --target-cafile", words)

    def test_document(self) -> None:
        """docs/options.rst is the table's. C{make options} renews it."""
        self.assertEqual(DOCUMENT.read_text(encoding="utf-8"), asDocument())

    def test_markup(self) -> None:
        """It is sound."""
        tree = publish_doctree(asDocument(), settings_overrides={"report_level": 1, "halt_level": 1})
        self.assertEqual(tree.astext().count("\n--"), len(TABLE))
