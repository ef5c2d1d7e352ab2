"""The benchmarks run: of figures on a machine that tests as well, there is nothing to be said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.components import require, requireComponent
from tests.e2e.browser import NODE_MODULES
from tests.e2e.proxy import startProxy
from tests.integration.twistd import ROOT, start


class BenchmarksTests(TestCase):
    timeout = 300.0  # the first time, an environment with the peers is made

    def setUp(self) -> None:
        requireComponent("cc")
        self.output = Path(self.mktemp())
        self.output.mkdir()

    async def run_(self, *words: str) -> str:
        """@return: what one of them says to whoever reads."""
        command = [sys.executable, "-m", *words, "--output", str(self.output.resolve())]
        done: subprocess.CompletedProcess[str] = await deferToThread(
            subprocess.run, command, cwd=ROOT, text=True, capture_output=True, timeout=self.timeout - 20
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def result(self, name: str) -> Any:
        """What it has left."""
        return json.loads((self.output / name).read_text())

    async def test_table(self) -> None:
        """One round of one scenario, beside a peer."""
        table = await self.run_("benchmarks", "--quick", "--only", "wss ping-pong")
        self.assertRegex(table, r"wss ping-pong x 50 +messages/s +[\d,]+ +[\d,]+ +- +[\d.]+  websockify")
        self.assertEqual(self.result("results.json")["proxies"][:2], ["wsproxy", "websockify"])

    async def test_age(self) -> None:
        """How old data is on a way of one's own: what was to be young is not seconds old."""
        age = [sys.executable, "-m", "benchmarks.age"]
        target = await start(self, [*age, "target", "0"]).line(r"telling the time on port (\d+)")
        proxy = await startProxy(self, "--target", f"localhost:{target[1]}")
        client = start(self, [*age, "client", f"ws://localhost:{proxy.port}/", "--rate", "1000000", "--seconds", "3"])
        found = await client.line(r"  3 s: (\d\.\d\d) s old, \d\.\d\d MB/s")
        self.assertLess(float(found[1]), 3)
        self.assertEqual((await client.end()).status, 0)

    async def test_line(self) -> None:
        """Over a real line each key has its echo, however much somebody pours into it."""
        for name in ("ip", "tc", "Xtigervnc", "xterm", "chromium", "node"):
            requireComponent(name)
        require("root", lambda: os.geteuid() == 0)
        require("node_modules", NODE_MODULES.exists)
        await self.run_("benchmarks.line", "--rounds", "1", "--keys", "2", "--without", "websockify")
        lags = self.result("line.json")["lags"]
        self.assertEqual(lags.keys(), {"wsproxy, noVNC", "wsproxy, stream"})
        for found in lags.values():
            self.assertEqual(len(found), 2)
            self.assertLess(max(found), 20)  # where one is given up
        self.assertIn("<svg", (self.output / "line.svg").read_text())
        spaces = subprocess.run(("ip", "netns", "list"), capture_output=True, text=True, check=True).stdout
        self.assertNotIn("line-", spaces)
