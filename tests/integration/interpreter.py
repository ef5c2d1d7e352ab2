"""A Python for processes without rights: the one that runs the tests may lie where only its owner may look."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.integration.twistd import ROOT

__all__ = ["PATHS", "pythonForEverybody"]

PATHS = os.pathsep.join(
    [str(ROOT), *(path for path in map(os.path.abspath, sys.path) if not path.startswith(sys.base_prefix))]
)
"""A C{PYTHONPATH} with all that is imported here but the standard library, which another Python has its own of."""


def pythonForEverybody() -> str | None:
    """One of our version that runs what we run, for a user without any rights."""
    script = "import os, sys; os.setuid(65534); os.execv(sys.argv[1], [sys.argv[1], '-c', 'import autobahn, OpenSSL'])"
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        command = [sys.executable, "-c", script, candidate]
        if not subprocess.call(command, env={"PYTHONPATH": PATHS}, stderr=subprocess.DEVNULL):
            return candidate
    return None
