"""Real nginx and HAProxy in front of a proxy: processes without privileges, on ports that the kernel chose."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.components import require, requireComponent

__all__ = ["Front", "HAProxy", "Nginx", "NginxStream"]


class Front:
    """
    It is given a socket that listens, so that it need not choose a port and nobody has to wait for it.

    @ivar port: where it listens on 127.0.0.1.
    """

    name: str

    def __init__(self) -> None:
        self._program = requireComponent(self.name, f"/usr/sbin/{self.name}")
        self._folder = Path(tempfile.mkdtemp(prefix="wsproxy-front-"))
        self._folder.chmod(0o777)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, configuration: str, *arguments: str, **environment: str) -> None:
        """Run it with this configuration, whose file's name is appended to C{arguments}."""
        file = self._folder / "configuration"
        file.write_text(configuration)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, *arguments, str(file)],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                pass_fds=self.descriptors,
                user="nobody" if os.geteuid() == 0 else None,
                group="nogroup" if os.geteuid() == 0 else None,
            )

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    @property
    def descriptors(self) -> list[int]:
        """What it inherits."""
        return [self.descriptor]

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._socket.close()
        shutil.rmtree(self._folder)


class Nginx(Front):
    """
    @param locations: directives by the first part of a path.
    """

    name = "nginx"

    def __init__(self, locations: Mapping[str, str]) -> None:
        super().__init__()
        folders = "".join(
            f"{name}_temp_path {self._folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        blocks = "".join(f"location /{name}/ {{ {directives} }}\n" for name, directives in locations.items())
        self.start(
            f"daemon off; pid {self._folder}/pid; worker_processes 1;\n"
            "events {}\n"
            f"http {{ access_log off;\n{folders}server {{ listen 127.0.0.1:{self.port};\n{blocks}}} }}\n",
            *("-e", "stderr", "-p", str(self._folder), "-c"),
            NGINX=f"{self.descriptor};",
        )


class NginxStream(Front):
    """
    One that passes on, or answers, what is not HTTP.

    @param servers: of each, what its C{listen} has behind the address, and its other directives.
    @ivar ports: where they listen on 127.0.0.1, in their order; at C{path} the first listens, too.
    """

    name = "nginx"
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def __init__(self, servers: Sequence[tuple[str, str]]) -> None:
        require("nginx's stream module", lambda: os.path.exists(self.module))
        super().__init__()
        self._more = [socket.create_server(("127.0.0.1", 0)) for _ in servers[1:]]
        self.ports: list[int] = [self.port, *(each.getsockname()[1] for each in self._more)]
        self.path = str(self._folder / "socket")
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(self.path)
        self._unix.listen()
        blocks = "".join(
            f"server {{ listen 127.0.0.1:{port} {options};\n"
            f"{f'listen unix:{self.path} {options};' if port == self.port else ''}\n{directives} }}\n"
            for port, (options, directives) in zip(self.ports, servers, strict=True)
        )
        self.start(
            f"load_module {self.module}; daemon off; pid {self._folder}/pid; worker_processes 1;\n"
            f"events {{}}\nstream {{\n{blocks}}}\n",
            *("-e", "stderr", "-p", str(self._folder), "-c"),
            NGINX="".join(f"{each};" for each in self.descriptors),
        )

    @property
    def descriptors(self) -> list[int]:
        return [self._socket.fileno(), *(each.fileno() for each in self._more), self._unix.fileno()]

    def stop(self) -> None:
        for each in (*self._more, self._unix):
            each.close()
        super().stop()


class HAProxy(Front):
    """
    @param backends: the lines of each, by the first part of a path.
    """

    name = "haproxy"

    def __init__(self, backends: Mapping[str, str]) -> None:
        super().__init__()
        blocks = "".join(f"backend {name}\n{lines}\n" for name, lines in backends.items())
        self.start(
            "defaults\nmode http\nretries 0\ntimeout client 5s\ntimeout server 5s\ntimeout connect 5s\n"
            f"frontend front\nbind fd@{self.descriptor}\nuse_backend %[path,field(2,/)]\n{blocks}",
            *("-db", "-f"),
        )
