"""A slow line, as a person feels it: from a key press to its echo, while the desktop scrolls, or a stream pours.

::

    namespace "far": Chromium ═══ veth, tbf of 300 KB/s ═══ namespace "near": proxy ─┬─ Xtigervnc ─ xterms
                                                                                     └─ whatever writes as it can

The one is noVNC in our page; the other a WebSocket by itself, of a target that does nothing about its queue.

python -m benchmarks.line, as root. Needs iproute2, Xtigervnc, xterm, Chromium, Node and C{npm ci} in F{tests/e2e}. All
proxies take turns; each is a web server of the page, too. What it leaves: F{.build/benchmarks/line.json} and a plot.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.command import addCommon, checkNames, count, runToTheEnd
from benchmarks.workshop import Workshop

ADDRESS = "10.231.77.1"
"""Of the near side, in a namespace of ours."""

PATIENCE = 20.0
"""Seconds after which no echo is waited for any more."""

SETTLING = 4.0
"""Seconds for queues to fill before the first key."""

PAUSE = 0.3
"""Seconds from an echo to the next key."""

VNC = ["Xtigervnc", "-localhost", "-geometry", "1024x768", "-depth", "24", "-SecurityTypes", "None"]
SCROLL = "touch there; while :; do od -An -tx1 -w54 -N1080 /dev/urandom; sleep 0.02; done"
ECHO = (
    "stty -icanon -echo; colour=41; while :; do printf '\\033[%sm\\033[2J' $colour; "
    "dd bs=1 count=1 >/dev/null 2>&1; [ $colour = 41 ] && colour=42 || colour=41; done"
)
"""A window that is red, and green after a key, and so on; under the middle of the desktop, where the pointer is."""

ARM = """void (window.lag = new Promise((resolve) => {
    const look = () => {
        const canvas = document.querySelector('#screen canvas');
        const [red, green] = canvas.getContext('2d').getImageData(400, 420, 1, 1).data;
        return red > green;
    };
    const before = look();
    document.addEventListener('keydown', () => {
        const pressed = performance.now();
        const wait = () => {
            const passed = performance.now() - pressed;
            look() === before && passed < 20000 ? requestAnimationFrame(wait) : resolve(passed);
        };
        wait();
    }, {once: true, capture: true});
}))"""


POUR = """
import select, socket, sys, threading
def serve(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    fill = b"a"
    while True:
        if select.select([connection], [connection], [])[0]:
            if not connection.recv(1):
                return
            fill = b"b" if fill == b"a" else b"a"
        else:
            connection.send(fill * 4096)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
"""What each byte of it says changes with a key."""

CONNECT = """void (window.socket = Object.assign(new WebSocket(`ws://${location.host}/`, ['binary']), {
    binaryType: 'arraybuffer',
    onmessage: ({data}) => {
        window.last = new Uint8Array(data).at(-1);
        window.changed?.();
    },
}))"""
ASK = """void (window.lag = new Promise((resolve) => {
    const pressed = performance.now(), before = window.last;
    window.changed = () => window.last !== before && resolve(performance.now() - pressed);
    window.socket.send(new Uint8Array(1));
    setTimeout(() => resolve(20000), 20000);
}))"""


class Namespaces:
    """Two of them, with a line in between."""

    def __init__(self, rate: int) -> None:
        self._names = {side: f"line-{side}-{os.getpid()}" for side in ("near", "far")}
        near, far = self._names["near"], self._names["far"]
        for name in (near, far):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", near, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", far)
        for name, address in ((near, ADDRESS), (far, "10.231.77.2")):
            _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", "line")
            _run("ip", "-n", name, "link", "set", "line", "up")
        limit = ("rate", f"{rate * 8}bit", "burst", "8kb", "latency", "50ms")
        _run("tc", "-n", near, "qdisc", "add", "dev", "line", "root", "tbf", *limit)

    def inside(self, side: str, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self._names[side], *command]

    def remove(self) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)


class Browser:
    """Chromium, by the driver of the end-to-end tests."""

    def __init__(self, command: Sequence[str]) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)

    def close(self) -> None:
        with suppress(BrokenPipeError):  # it is gone already
            self.process.communicate()

    def ask(self, *words: str) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(words) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextmanager
def _running(command: Sequence[str], directory: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """With all that it starts, until the end."""
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _proxies(workshop: Workshop, port: int, target: int) -> dict[str, list[str]]:
    static = workshop.root / "wsproxy" / "static"
    ours = [str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile=", "websockify"]
    original = str(workshop.environment / "bin" / "websockify")
    return {
        "wsproxy": [*ours, "--listen", f"{ADDRESS}:{port}", "--target", f"127.0.0.1:{target}"],
        "websockify": [original, "--web", str(static), f"{ADDRESS}:{port + 1}", f"127.0.0.1:{target}"],
    }


def _missing(workshop: Workshop) -> list[str]:
    missing = [] if os.geteuid() == 0 else ["root"]
    missing += [name for name in ("ip", "tc", VNC[0], "xterm", "chromium", "node") if shutil.which(name) is None]
    if not (workshop.root / "tests" / "e2e" / "node_modules").exists():
        missing.append("npm ci in tests/e2e")
    return missing


def measure(workshop: Workshop, rate: int, rounds: int, keys: int, without: Sequence[str]) -> dict[str, list[float]]:
    """@return: by proxy and what is behind it, seconds from each key to its echo."""
    lags: dict[str, list[float]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="line")))
        spaces = Namespaces(rate)
        stack.callback(spaces.remove)

        def start(command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
            return stack.enter_context(_running(spaces.inside("near", command), directory, **environment))

        def number(command: Sequence[str]) -> int:
            """What it prints first."""
            output = start(command).stdout
            assert output is not None
            return int(output.readline())

        display = number([*VNC, "-displayfd", "1"])
        for place, script in (("165x58+0+0", SCROLL), ("60x8+260+340", ECHO)):
            start(["xterm", "-geometry", place, "-fn", "fixed", "-e", "sh", "-c", script], DISPLAY=f":{display}")
            while not (directory / "there").exists():  # the later one is on top
                time.sleep(0.2)
            time.sleep(1)
        ways: list[tuple[str, str, Callable[[Browser, str, int], list[float]]]] = []
        port = 6080
        for what, target, lagsOf in (
            ("noVNC", 5900 + display, _desktop),
            ("stream", number([sys.executable, "-c", POUR]), _stream),
        ):
            for name, command in _proxies(workshop, port, target).items():
                if name in without:
                    continue
                start(command)
                ways.append((f"{name}, {what}", f"http://{ADDRESS}:{port}", lagsOf))
                port += 1
        driver = [shutil.which("node"), str(workshop.root / "tests" / "e2e" / "driver.js")]
        browser = Browser(spaces.inside("far", [*driver, "chromium", shutil.which("chromium")]))
        stack.callback(browser.close)
        time.sleep(3)
        for _ in range(rounds):
            for name, url, lagsOf in ways:
                found = lagsOf(browser, url, keys)
                lags.setdefault(name, []).extend(found)
                print(name, " ".join(f"{lag:.2f}" for lag in found), file=sys.stderr)
    return lags


def _desktop(browser: Browser, url: str, keys: int) -> list[float]:
    browser.ask("open", f"{url}/wsvnc.html")
    browser.ask("until", "document.getElementById('status').textContent.startsWith('Connected to ')")
    browser.ask("until", "document.querySelector('#screen canvas')?.width > 1000")
    browser.ask("click", "#screen canvas")
    time.sleep(SETTLING)
    found = []
    for _ in range(keys):
        browser.ask("evaluate", ARM)
        browser.ask("press", "a")
        found.append(browser.ask("evaluate", "window.lag") / 1000)
        time.sleep(PAUSE)
    return found


def _stream(browser: Browser, url: str, keys: int) -> list[float]:
    browser.ask("open", f"{url}/index.html")
    browser.ask("evaluate", CONNECT)
    browser.ask("until", "window.last")
    time.sleep(SETTLING)
    found = []
    for _ in range(keys):
        browser.ask("evaluate", ASK)
        found.append(browser.ask("evaluate", "window.lag") / 1000)
        if found[-1] >= PATIENCE:
            break
        time.sleep(PAUSE)
    browser.ask("evaluate", "window.socket.close()")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line", description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=count, default=300_000, help="bytes a second of the line (default: 300000)")
    addCommon(parser, 2, "proxy")
    parser.add_argument("--keys", type=count, default=8, help="in each round (default: 8)")
    arguments = parser.parse_args()
    checkNames(parser, arguments.without, ["wsproxy", "websockify"])
    workshop = Workshop(arguments.output)
    missing = _missing(workshop)
    if missing:
        sys.exit(f"benchmarks.line: needs {', '.join(missing)}")
    workshop.prepare()
    lags = measure(workshop, arguments.rate, arguments.rounds, arguments.keys, arguments.without)
    for name, found in lags.items():
        found.sort()
        tenth = found[int(len(found) * 0.9)]
        print(f"{name:20} median {statistics.median(found):.2f} s, one in ten {tenth:.2f} s, worst {found[-1]:.2f} s")
    results = workshop.results.with_name("line.json")
    results.write_text(json.dumps({"rate": arguments.rate, "lags": lags}, indent=1) + "\n")
    workshop.draw("benchmarks.lineplot", results, results.with_suffix(".svg"))


if __name__ == "__main__":
    runToTheEnd(main)
