"""The recipes of README.rst and docs/: every literal block, and the command lines in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree

from tests.integration.twistd import ROOT

__all__ = ["DOCUMENTS", "Recipe", "commandsOf", "complaints", "recipesOf"]

DOCUMENTS = [ROOT / "README.rst", ROOT / "CHANGES.rst", ROOT / "benchmarks/README.rst", *ROOT.glob("docs/**/*.rst")]

_COMMAND = re.compile(
    r"(?:exec )?(?:(?:twistd?|wswrap|wsproxy-replay|openssl|certbot|cp|systemctl|systemd-socket-activate|pipx|docker)"
    r" (?![─[])|vncpasswd).*"
)


@dataclass(frozen=True)
class Recipe:
    """A literal block. C{title} is the term or the heading that it belongs to."""

    title: str
    text: str


def _read(path: Path) -> tuple[Any, str]:
    said = StringIO()
    settings = {"report_level": 1, "halt_level": 5, "warning_stream": said, "syntax_highlight": "none"}
    return publish_doctree(path.read_text(), str(path), settings_overrides=settings), said.getvalue()


def complaints(path: Path) -> str:
    """What docutils has to say of a document; empty where all is well."""
    return _read(path)[1]


def recipesOf(path: Path) -> list[Recipe]:
    """The literal blocks of a document, in their order."""
    return [Recipe(_title(block), block.astext()) for block in _read(path)[0].findall(nodes.literal_block)]


def _title(node: Any) -> str:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.definition_list_item):
            return str(node[0].astext())
        if isinstance(node, nodes.section):
            return str(node[0].astext())
    return ""


def commandsOf(text: str) -> Iterator[str]:
    """The command lines of a recipe, each on one line, without a comment."""
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if _COMMAND.fullmatch(line):
            yield re.sub(r"\s+# .*", "", line)
