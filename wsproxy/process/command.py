"""What is run, and how it learns where to listen.

Either rebind moves the port that the program binds anyway, or the program is told: C{{port}} in its arguments becomes
a loopback port that is free, C{{socket}} the path of a unix socket, anew for each start and with nothing preloaded.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.process.guard import quietPorts
from wsproxy.process.launch import NOT_EXECUTABLE, NOT_FOUND

__all__ = ["Command", "NoProgram", "rebindLibrary"]

_PORT, _SOCKET = "{port}", "{socket}"


class NoProgram(ConfigError):
    """
    There is no such program, or it must not be run.

    @ivar status: what a shell leaves with then.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Command:
    """One start of a program.

    @ivar path: the absolute path of the executable.
    @ivar words: what it sees: its name and arguments.
    @ivar environment: all of its environment.
    @ivar addresses: target strings for where it listens, as it was told or is known; none where that is reported.
    """

    path: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    addresses: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in logs."""
        return escape(os.path.basename(self.words[0]), 40)

    @property
    def hasPlaceholder(self) -> bool:
        """Whether the program is told where to listen."""
        return any(_PORT in word or _SOCKET in word for word in self.words)

    @property
    def needsMove(self) -> bool:
        """Whether it takes rebind to know where the program listens."""
        return not (self.addresses or self.hasPlaceholder)

    @classmethod
    def find(cls, words: Sequence[str], environment: Mapping[str, str]) -> Command:
        """
        @param words: the program, looked up on PATH if its name has no slash, and its arguments.
        @raise NoProgram: there is no such program, or it must not be run.
        """
        path = shutil.which(words[0], path=environment.get("PATH", os.defpath))
        if path is None and "/" in words[0] and os.path.exists(words[0]):
            raise NoProgram(f"-- {words[0]}: not executable", NOT_EXECUTABLE)
        if path is None:
            raise NoProgram(f"-- {words[0]}: no such program", NOT_FOUND)
        return cls(os.path.abspath(path), tuple(words), environment)

    def forbidden(self, *others: str) -> str | None:
        """
        What stands in the way of running it, for the user that we are now.

        @param others: files that have to be readable, too.
        @return: the path of the first file or directory that is not permitted.
        """
        for path, wanted in (self.path, os.X_OK), *((other, os.R_OK) for other in others):
            for parent in reversed(Path(path).parents):
                if not os.access(parent, os.X_OK, effective_ids=True):
                    return str(parent)
            if os.path.exists(path) and not os.access(path, wanted, effective_ids=True):
                return path
        return None

    def moved(self, library: str, port: int | None, tree: int, notify: str) -> Command:
        """
        This command with its port moved by rebind. A library that is preloaded already stays so.

        @param library: the path of rebind.so.
        @param port: the port to move; L{None}: every one.
        @param tree: the port where to; see L{Guard<wsproxy.process.guard.Guard>}.
        @param notify: the path of the socket to report to.
        """
        preloads = [self.environment.get("LD_PRELOAD", ""), library]
        variables = {
            "LD_PRELOAD": ":".join(filter(None, preloads)),
            "REBIND_OLD_PORT": "*" if port is None else str(port),
            "REBIND_NEW_PORT": "0",
            "REBIND_TREE_PORT": str(tree),
            "REBIND_NOTIFY": notify,
        }
        return replace(self, environment={**self.environment, **variables})

    def placed(self, directory: str) -> Command:
        """
        This command with its placeholders filled in.

        @param directory: where the unix socket may be made; what is left of an earlier one is removed.
        """
        addresses = [*self.addresses]
        words = self.words
        if any(_SOCKET in word for word in words):
            path = os.path.join(directory, "socket")
            with suppress(FileNotFoundError):
                os.unlink(path)
            words = tuple(word.replace(_SOCKET, path) for word in words)
            addresses.append(f"unix:{path}")
        if any(_PORT in word for word in words):
            port = _freePort()
            words = tuple(word.replace(_PORT, str(port)) for word in words)
            addresses += [f"127.0.0.1:{port}", f"[::1]:{port}"]
        return replace(self, words=words, addresses=tuple(addresses))


def rebindLibrary() -> str:
    """
    @return: the path of rebind.so: installed beside this file, or built in a checkout.
    @raise ConfigError: there is none, or the dynamic linker could not load it.
    """
    here = Path(__file__).parent
    found = next((path for path in (here / "rebind.so", here.parents[1] / "rebind/rebind.so") if path.exists()), None)
    if found is None:
        raise ConfigError(
            f"--: rebind.so is missing, and no port can be moved without; build it with 'make -C {here}/rebind', "
            f"or tell the program where to listen with {_PORT} or {_SOCKET} in its arguments"
        )
    if any(c in " :" for c in str(found)):
        raise ConfigError(f"--: {found}: LD_PRELOAD takes no path with a colon or a space")
    return str(found)


def _freePort() -> int:
    """A port that nobody has on the loopback interface."""
    for port in quietPorts():
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise OSError("no port is free on 127.0.0.1")
