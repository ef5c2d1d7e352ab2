"""Other versions of the code that a proxy runs: what is here, with a fault planted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.integration.twistd import ROOT

__all__ = ["Installed"]


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
