"""Plants faults in some rooms, and counts those that the unit tests of the room notice: docs/testing.rst.

A line for each mutant and one for each room. Mutants that change nothing that a test could see are listed in
C{equivalent.txt}, with the reason, and do not count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.mutants import Mutant, mutants, sample

ROOT = Path(__file__).parents[2]
ROOMS = ("tunnel", "ends", "wire", "frontend")
EQUIVALENT = Path(__file__).with_name("equivalent.txt")

CPU = 30
"""Seconds of processor time for the tests of a room, which take up to 6. After these a mutant has hung."""

PATIENCE = 240
"""Seconds on the clock, on a machine that has more to do."""

MEMORY = 2_000_000
"""KiB of address space: a mutant that queues for ever ends here."""


class Copy:
    """A copy of the project, to plant one fault after the other in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("wsproxy", "tests", "twisted"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))

    def survives(self, mutant: Mutant) -> bool:
        """Whether no test of its room notices it."""
        file = self._folder / "wsproxy" / mutant.path
        kept = file.read_text(encoding="utf-8")
        try:
            file.write_text(mutant.source, encoding="utf-8")
            return self.passes(mutant.path)
        finally:
            file.write_text(kept, encoding="utf-8")

    def passes(self, path: str) -> bool:
        """Whether the unit tests of the room pass, those of the module first."""
        room, _, module = path.removesuffix(".py").partition("/")
        files = sorted(self._folder.glob(f"tests/{room}/test_*.py"), key=lambda file: file.stem != f"test_{module}")
        trial = [sys.executable, "-m", "twisted.trial", "-x", "--temp-directory", str(self._folder / "trial")]
        limited = f'ulimit -t {CPU}; ulimit -v {MEMORY}; exec nice -n 10 "$@"'
        process = subprocess.Popen(
            ["sh", "-c", limited, "sh", *trial, *(f"tests.{room}.{file.stem}" for file in files)],
            cwd=self._folder,
            # Nothing compiled of a mutant is left; Hypothesis tries the same each time where it knows that it is in CI
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def candidates() -> list[Mutant]:
    package = ROOT / "wsproxy"
    files = [file for room in ROOMS for file in sorted((package / room).glob("*.py"))]
    return [
        mutant for file in files for mutant in mutants(str(file.relative_to(package)), file.read_text(encoding="utf-8"))
    ]


def equivalents() -> frozenset[str]:
    """As lines about mutants begin: one whose code has changed since is to be looked at again."""
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines()
    return frozenset(line.rpartition("\t")[0] for line in lines if line.count("\t") == 2)


def run(chosen: Sequence[Mutant], processes: int) -> Counter[tuple[str, str]]:
    """Try these, and say how it went. @return: how many, by room and outcome."""
    known, counts = equivalents(), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(processes) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(processes):
            copies.put(Copy(Path(scratch, str(number))))

        def outcome(mutant: Mutant) -> str:
            if str(mutant) in known:
                return "equivalent"
            copy = copies.get()
            try:
                return "survived" if copy.survives(mutant) else "killed"
            finally:
                copies.put(copy)

        copy = copies.get()
        for room in sorted({mutant.path.partition("/")[0] for mutant in chosen}):
            if not copy.passes(f"{room}/"):
                raise SystemExit(f"The tests of {room} fail without any fault")
        copies.put(copy)
        for mutant, result in zip(chosen, pool.map(outcome, chosen), strict=True):
            counts[mutant.path.partition("/")[0], result] += 1
            print(f"{result}\t{mutant}\tline {mutant.line}", flush=True)
    return counts


def report(counts: Counter[tuple[str, str]]) -> None:
    for room in (*ROOMS, "all"):
        killed, survived, equivalent = (
            sum(n for (where, what), n in counts.items() if what == outcome and room in (where, "all"))
            for outcome in ("killed", "survived", "equivalent")
        )
        total = killed + survived
        if total:
            print(f"{room}: {killed} of {total} noticed ({killed / total:.1%}), {equivalent} equivalent")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="tried at a time (%(default)s)")
    parser.add_argument("--again", type=Path, help="the output of a run before: only what survived there")
    parser.add_argument("--list", action="store_true", help="only say which they are")
    options = parser.parse_args()
    chosen = sample(candidates(), options.sample, options.seed)
    if options.again:
        lines = options.again.read_text(encoding="utf-8").splitlines()
        survived = {line.split("\t")[1] for line in lines if line.startswith("survived\t")}
        chosen = [mutant for mutant in candidates() if mutant.key in survived]
    if options.list:
        print(*chosen, sep="\n")
        return
    began = time.monotonic()
    report(run(chosen, options.processes))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
