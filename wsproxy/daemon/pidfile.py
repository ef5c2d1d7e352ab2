"""twistd's pidfile, looked at before twistd does: what stands in the way is told in our words, and how to go on."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = ["checkPidfile"]

_REMEDY = "give each proxy its own (twistd --pidfile FILE), or none (twistd --pidfile=)"


def checkPidfile(path: str | None) -> None:
    """
    @param path: as twistd was told, or its default; empty or L{None} for none. One that was left behind is removed.
    @raise ConfigError: there cannot be a pidfile.
    """
    if not path:
        return
    path = os.path.abspath(path)
    name = escape(path, None)
    try:
        text = Path(path).read_text("ascii", "replace")
    except FileNotFoundError:
        if not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
            raise ConfigError(f"twistd --pidfile {name}: cannot be made there; {_REMEDY}") from None
        return
    except OSError as error:
        raise ConfigError(f"twistd --pidfile {name}: {error.strerror}; {_REMEDY}") from None
    pid = int(text) if text.strip().isdecimal() and len(text) < 20 else 0
    if not pid:
        raise ConfigError(f"twistd --pidfile {name}: there is such a file, which is none; {_REMEDY}")
    if _runs(pid) and not _isStale(path, pid):
        raise ConfigError(f"twistd --pidfile {name}: process {pid} runs already; {_REMEDY}")
    try:
        os.unlink(path)
    except OSError as error:
        raise ConfigError(f"twistd --pidfile {name}: {error.strerror}; {_REMEDY}") from None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _isStale(path: str, pid: int) -> bool:
    """
    Whether the process has been given a number that was another's when the file was written. In a container each start
    has the same number.
    """
    if pid == os.getpid():
        return True
    with suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
        age = up - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # proc_pid_stat(5): starttime
        return age + 1 < time.time() - os.stat(path).st_mtime
    return False
