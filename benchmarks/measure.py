"""One scenario: every proxy in turn, round after round, so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.meter import ProcessTree, startTree
from benchmarks.proxies import Place, Proxy
from benchmarks.scenarios import Sample, Scenario
from benchmarks.workshop import Workshop

__all__ = ["Bench", "Failed"]

_START_LIMIT = 30.0
"""Seconds for a proxy to answer on its port."""

_BESIDE = 3600
"""Seconds that a load beside another would last, were it not ended with it."""

_WARM_UP = 16
"""Clients before the first round: code is loaded and memory taken when the first of them come."""


class Failed(Exception):
    """A proxy did not survive a load, or gave a client cause to complain. C{str()} says what happened."""


class Bench:
    """Where proxies are put to work.

    @param seconds: of each round.
    """

    def __init__(self, workshop: Workshop, seconds: float, rounds: int) -> None:
        self._workshop = workshop
        self._seconds = seconds
        self._rounds = rounds

    def measure(self, scenario: Scenario, proxies: Sequence[Proxy]) -> dict[str, list[Sample] | str]:
        """@return: by the proxy's name its samples, or what went wrong; nothing for one that cannot serve."""
        outcomes: dict[str, list[Sample] | str] = {}
        with ExitStack() as stack:
            ports = self._startTargets(stack)
            subjects: list[_Subject] = []
            for proxy in proxies:
                if scenario.framed and not proxy.websocket:
                    continue
                certificate = self._workshop.certificate if scenario.secure else None
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark")))
                target = ports[scenario.target]
                access = None if scenario.access is None else scenario.access(f"127.0.0.1:{target}", directory)
                place = Place(_freePort(), target, directory, certificate, access)
                command = proxy.command(place)
                if not command:
                    continue
                outcomes[proxy.name] = []
                tree = startTree(command, directory)
                stack.callback(tree.end)
                subjects.append(_Subject(proxy, scenario, place, tree, self._workshop.load))
            for number in range(self._rounds):
                for subject in subjects:
                    samples = outcomes[subject.proxy.name]
                    if isinstance(samples, str):
                        continue
                    try:
                        if number == 0:
                            subject.warmUp()
                        samples.append(subject.sample(max(self._seconds, scenario.atLeast)))
                    except Failed as failure:
                        outcomes[subject.proxy.name] = str(failure)
        return outcomes

    def _startTargets(self, stack: ExitStack) -> dict[str, int]:
        targets = subprocess.Popen([self._workshop.target], stdout=subprocess.PIPE, text=True)
        stack.enter_context(targets)
        stack.callback(targets.kill)
        assert targets.stdout is not None
        return dict(zip(("echo", "sink", "source", "clock"), map(int, targets.stdout.readline().split()), strict=True))


class _Subject:
    """A running proxy under one scenario's load."""

    def __init__(self, proxy: Proxy, scenario: Scenario, place: Place, tree: ProcessTree, load: Path) -> None:
        self.proxy = proxy
        self._scenario = scenario
        self._place = place
        self._tree = tree
        self._load = load
        self._memory = 0

    def warmUp(self) -> None:
        """Wait until the proxy answers, and let it answer a few clients that do not count."""
        deadline = time.monotonic() + _START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._place.port)).close()
                break
            except ConnectionRefusedError:
                if self._tree.process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"did not start: {self._lastWords()}") from None
                time.sleep(0.05)
        if self._scenario.load == "idle":
            self._idle(_WARM_UP, 0.5)
            self._memory = self._tree.memory()
        else:
            self._work(0.2)

    def sample(self, seconds: float) -> Sample:
        """One round. @raise Failed: it did not go well."""
        scenario = self._scenario
        if scenario.load == "idle":
            return self._idle(scenario.clients, seconds)
        if scenario.beside is None:
            return self._work(seconds)
        load, size = scenario.beside
        with self._started(load, 1, _BESIDE, size) as beside:
            try:
                return self._work(seconds)
            finally:
                beside.kill()

    def _work(self, seconds: float) -> Sample:
        scenario = self._scenario
        with self._started(scenario.load, scenario.clients, seconds, *scenario.sizes) as load:
            before = self._tree.processor()
            assert load.stdout is not None
            line = load.stdout.readline()
            after = self._tree.processor()
            if not line:
                raise Failed(self._complaint(load))
        result = json.loads(line)
        others = {name: result[name] for name in ("p50", "p99", "before", "longest", "refused") if name in result}
        return Sample(scenario.clients, result["seconds"], result["units"], after - before, **others)

    def _idle(self, clients: int, seconds: float) -> Sample:
        with self._started("idle", clients) as load:
            before = self._tree.processor()
            time.sleep(seconds)
            after = self._tree.processor()
            sample = Sample(clients, seconds, 0, after - before, memory=self._tree.memory() - self._memory)
            load.communicate()
            if load.returncode:
                raise Failed(self._complaint(load))
        return sample

    def _started(self, load: str, *numbers: float) -> subprocess.Popen[str]:
        """The load generator, all its clients connected."""
        scheme = "tcp" if not self.proxy.websocket else "wss" if self._scenario.secure else "ws"
        clients, *others = map(str, numbers)
        command = [str(self._load), scheme, load, str(self._place.port), clients, *others]
        access = self._place.access
        environment = {**os.environ, **({} if access is None else {"LOAD_PATH": access.path})}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=environment, text=True, **pipes)
        assert process.stdout is not None
        if process.stdout.readline() != "open\n":
            with process:
                raise Failed(self._complaint(process))
        return process

    def _complaint(self, load: subprocess.Popen[str]) -> str:
        assert load.stderr is not None
        return load.stderr.read().strip() or f"the load generator ended with status {load.wait()}"

    def _lastWords(self) -> str:
        lines = (self._place.directory / "log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line), "(nothing in its log)")


def _freePort() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
