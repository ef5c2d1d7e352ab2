"""A real redis-server, on a port of its own: started, restarted, stopped in its tracks, gone."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

from tests.components import requireComponent

__all__ = ["RedisServer"]


class RedisServer:
    """
    It listens on loopback, keeps nothing on disk, and is the same again after L{start}.

    @param folder: its own, made here.
    @param options: more of redis-server's.
    @ivar port: the kernel's choice.
    """

    def __init__(self, folder: Path, *options: str, tls: tuple[str, str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        words = [requireComponent("redis-server"), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        if tls is None:
            words += ["--port", str(self.port)]
        else:
            certificate, key, authorities = tls
            words += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            words += ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authorities]
        self._words = [*words, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """@return: when it takes connections."""
        self._process = subprocess.Popen(self._words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server has not started")

    def stop(self) -> None:
        """It ends, and with it what it knows."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """It answers nothing, though the kernel takes connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def cli(self, *words: str) -> str:
        """@return: what redis-cli prints."""
        command = [requireComponent("redis-cli"), "-p", str(self.port), "--raw", *words]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=20)
        return done.stdout.strip()
