"""Other versions of the code that a proxy runs: what is here, with a fault planted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.integration.twistd import ROOT

__all__ = ["NEW", "UNSEEN", "Installed", "first", "instead"]

UNSEEN = "os.environ.get('WSPROXY_HANDOVER', '3') != '3'"
"""Where new code takes the place of old, but not where it is tried out before."""

NEW = "sys.argv[1] != '1'"
"""In a worker of the new code, but not in the first one, nor where it is tried out."""

_FUTURE = "from __future__ import annotations\n"


def first(statement: str, where: str = UNSEEN) -> Callable[[str], str]:
    """@return: has a module begin with that, there."""
    return lambda text: text.replace(_FUTURE, f"{_FUTURE}import os, signal, sys, time\nif {where}: {statement}\n", 1)


def instead(old: str, new: str) -> Callable[[str], str]:
    """@return: has a module differ there."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


class Installed:
    """
    The package as it is installed in C{folder}, which goes before all others in C{PYTHONPATH}; at first the one that is
    here.
    """

    def __init__(self, folder: Path) -> None:
        self._package = folder / "wsproxy"
        self._changed: Path | None = None
        for room, folders, files in os.walk(ROOT / "wsproxy"):
            here = self._package / Path(room).relative_to(ROOT / "wsproxy")
            here.mkdir(mode=0o755)
            folders[:] = [name for name in folders if name not in ("__pycache__", "static")]
            for name in (*files, *({"static"} & set(os.listdir(room)))):
                (here / name).symlink_to(Path(room) / name)

    def replace(self, name: str, change: Callable[[str], str]) -> None:
        """Install another version, which differs in this file."""
        self.mend()
        path = self._changed = self._package / name
        text = change((ROOT / "wsproxy" / name).read_text())
        path.unlink()
        path.write_text(text)

    def mend(self) -> None:
        """Install the one that is here."""
        if self._changed is not None:
            self._changed.unlink()
            self._changed.symlink_to(ROOT / "wsproxy" / self._changed.relative_to(self._package))
            self._changed = None
