"""What a process and everything that it starts has cost: processor time and memory.

Proxies that fork for each connection are measured whole. A control group counts every process that was ever in it;
without the right to make one, F{/proc} is summed, which misses children whose parent does not wait for them
(C{SIGCHLD} ignored).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["ControlGroup", "ProcessTree", "startTree"]

_TICK = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """A running command and its descendants.

    @param directory: where it runs; its output goes to a file C{log} there.
    @ivar process: the command itself.
    """

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def processor(self) -> float:
        """@return: seconds of processor time since the start, user and system."""
        ticks = 0
        for identifier in self.identifiers():
            with suppress(OSError):
                ticks += sum(map(int, _stat(identifier)[11:15]))  # utime, stime, cutime, cstime
        return ticks / _TICK

    def memory(self) -> int:
        """
        @return: bytes in use, each page that several processes share divided among them (PSS). Program files and
            libraries are left out: their part depends on who else on the machine has them open.
        """
        total = 0
        for identifier in self.identifiers():
            with suppress(OSError):
                lines = Path(f"/proc/{identifier}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
        return total * 1024

    def identifiers(self) -> Iterator[int]:
        """The living processes."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
        waiting = [self.process.pid]
        while waiting:
            identifier = waiting.pop()
            yield identifier
            waiting += children.get(identifier, [])

    def end(self) -> None:
        """Kill them all."""
        for identifier in tuple(self.identifiers()):
            with suppress(ProcessLookupError):
                os.kill(identifier, signal.SIGKILL)
        self.process.wait()


class ControlGroup(ProcessTree):
    """The same, counted by the kernel.

    @param parent: where the group is made; ours, in the hierarchy that accounts for processor time.
    """

    def __init__(self, parent: Path, command: Sequence[str], directory: Path) -> None:
        self._group = parent / f"wsproxy-{directory.name}"
        self._group.mkdir()
        join = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._group / "cgroup.procs")]
        super().__init__([*join, *command], directory)

    def processor(self) -> float:
        with suppress(OSError):
            return int((self._group / "cpuacct.usage").read_text()) / 1e9
        return int((self._group / "cpu.stat").read_text().split()[1]) / 1e6  # "usage_usec", version 2

    def identifiers(self) -> Iterator[int]:
        yield from map(int, (self._group / "cgroup.procs").read_text().split())

    def end(self) -> None:
        super().end()
        while any(self.identifiers()):  # it can be removed when the last one has been reaped
            time.sleep(0.01)
        self._group.rmdir()


def startTree(command: Sequence[str], directory: Path) -> ProcessTree:
    """Start C{command} in the best way to measure it that this machine allows. See L{ProcessTree}."""
    for parent in _groups():
        with suppress(PermissionError, FileNotFoundError):
            return ControlGroup(parent, command, directory)
    return ProcessTree(command, directory)


def _groups() -> Iterator[Path]:
    """Our own control groups that account for processor time: cgroups(7)."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(",") or not controllers:
            group = Path("/sys/fs/cgroup", controllers, path.lstrip("/"))
            if os.access(group, os.W_OK) and any((group / name).exists() for name in ("cpuacct.usage", "cpu.stat")):
                yield group


def _stat(identifier: int) -> list[str]:
    """F{/proc/PID/stat} from the third field on: the second, the command, may contain anything."""
    return Path(f"/proc/{identifier}/stat").read_text().rpartition(")")[2].split()
