"""A machine of its own, as far as a recipe can tell: its loopback interface is nobody else's, and so are its files.

Ports are free whatever runs outside, and what is written below C{/etc}, C{/run}, C{/opt}, C{/var} and C{/usr/share}
is seen inside alone and gone with it: a recipe is run as it stands, to the letter.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.integration.twistd import ROOT

__all__ = ["Machine", "Program"]

_PATIENCE = 60.0
"""Seconds after which a program that says nothing of what is expected is ended, and the test fails."""

_SETUP = """
set -e
ip link set lo up
mount -t tmpfs machine "$1"
for folder in etc opt run usr/share var; do
    upper=$1/$folder; work=$1/work/$folder
    mkdir -p "$upper" "$work"
    mount -t overlay machine -o "lowerdir=/$folder,upperdir=$upper,workdir=$work" "/$folder"
done
echo ready
exec sleep infinity
"""

_GREETER = """
import asyncio, ssl, sys
greeting, kind, *where = sys.argv[1:]
async def greet(reader, writer):
    writer.write(greeting.encode() + b"\\n")
    await reader.read()
    writer.close()
async def main():
    context = None
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(where.pop())
    if kind == "unix":
        server = await asyncio.start_unix_server(greet, where[0])
    else:
        server = await asyncio.start_server(greet, where[0], int(where[1]), ssl=context)
    print("greets", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

_CLIENT = """
import ssl, sys
from websockets.sync.client import connect
url, said, *subprotocols = sys.argv[1:]
context = None
if url.startswith("wss:"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with connect(url, ssl=context, subprotocols=subprotocols or ["binary"], proxy=None) as socket:
    if said:
        socket.send(said.encode())
    message = socket.recv(20)
    print(socket.subprotocol, message.decode(errors="replace").splitlines()[0])
"""


class Program:
    """What runs on a machine."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._said: list[str] = []

    def line(self, pattern: str) -> re.Match[str]:
        """
        The first match of C{pattern} in a line that was not looked at yet.

        @raise AssertionError: there is none, and the program has ended or has been silent for long.
        """
        assert self._process.stdout is not None
        watchdog = threading.Timer(_PATIENCE, self._process.kill)
        watchdog.start()
        try:
            for line in self._process.stdout:
                self._said.append(line)
                found = re.search(pattern, line)
                if found is not None:
                    return found
        finally:
            watchdog.cancel()
        raise AssertionError(f"no line {pattern!r} in {''.join(self._said)}")

    def finish(self) -> tuple[int, str]:
        """@return: the exit status, once there is one, and what was said since the last L{line}."""
        said, _ = self._process.communicate(timeout=_PATIENCE)
        return self._process.returncode, said

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it as an operator would. @return: its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self.finish()[0]

    def kill(self) -> None:
        """Away with it and what it has started, if anything is left."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


class Machine:
    """
    @ivar environment: variables for all that runs there. What is in C{/opt/tests} comes first on its PATH.
    """

    def __init__(self, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        programs = ("/opt/tests", str(Path(sys.executable).parent), "/usr/sbin", os.environ["PATH"])
        self.environment = {"PYTHONPATH": str(ROOT), "PATH": ":".join(programs), **environment}
        self._programs: list[Program] = []
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--", "sh", "-c", _SETUP, "machine", self._folder.name],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "ready\n":
            raise OSError("no namespaces to be had")

    def close(self) -> None:
        """End everything that runs there."""
        for program in reversed(self._programs):
            program.kill()
        self._keeper.kill()
        self._keeper.communicate()
        self._folder.cleanup()

    def start(self, command: str | Sequence[str], folder: str = "/", **environment: str) -> Program:
        """Run a command line, in the shell if it is a text."""
        words = ["sh", "-c", f"exec {command.removeprefix('exec ')}"] if isinstance(command, str) else command
        inside = ["nsenter", "--target", str(self._keeper.pid), "--net", "--mount", f"--wdns={folder}", "--"]
        process = subprocess.Popen(
            [*inside, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **self.environment, **environment},
        )
        program = Program(process)
        self._programs.append(program)
        return program

    def run(self, command: str | Sequence[str], folder: str = "/", **environment: str) -> str:
        """
        Run a command to its end. @return: what it said.

        @raise AssertionError: it failed.
        """
        status, said = self.start(command, folder, **environment).finish()
        if status:
            raise AssertionError(f"{command}: status {status}: {said}")
        return said

    def write(self, path: str, text: str) -> None:
        """Make a file, and the folders it is in."""
        folder = shlex.quote(os.path.dirname(path))
        self.run(["sh", "-c", f'mkdir -p {folder} && printf %s "$1" > {shlex.quote(path)}', "sh", text])

    def greet(self, greeting: str, *where: str) -> None:
        """Have a server say C{greeting} to whoever connects: at C{unix, PATH}, C{tcp, HOST, PORT} or C{tls, …, PEM}."""
        self.start([sys.executable, "-c", _GREETER, greeting, *where]).line("^greets$")

    def greeting(self, url: str, *subprotocols: str) -> str:
        """@return: the subprotocol that was chosen, and the first line that the target says to a WebSocket client."""
        return self.run([sys.executable, "-c", _CLIENT, url, "", *subprotocols]).strip()

    def answer(self, url: str, said: str) -> str:
        """@return: the first line that the target answers to what a WebSocket client says."""
        return self.run([sys.executable, "-c", _CLIENT, url, said]).partition(" ")[2].strip()

    def fetch(self, url: str) -> str:
        """@return: the status and the final URL of a request for a page, redirects followed."""
        return self.run(["curl", "-sSkL", "-o", "/dev/null", "-w", "%{http_code} %{url_effective}", url])
