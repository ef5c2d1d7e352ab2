"""What an option is told, as a value: seconds, a size, a file that can be read, a secret from where nobody sees it.

A word is made sense of in the moment and in the directory in which it was said: twistd may change both, and the user.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import quoteStringArgument
from twisted.logger import Logger

from wsproxy.access.forwarded import TrustedProxies
from wsproxy.access.networks import Networks
from wsproxy.access.origin import OriginPolicy
from wsproxy.access.reach import Reach
from wsproxy.access.secretfile import readSecretFile
from wsproxy.command.place import absolute, isSeen
from wsproxy.endpoints.weburl import discreetTarget, isWebSocketURL
from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = [
    "ADDRESS",
    "CHECKER",
    "CLIENTS",
    "COUNT",
    "DEADLINE",
    "DIRECTORY",
    "DISCREET",
    "ENDPOINT",
    "EXPLAINED",
    "EXPLAINED_HEADER",
    "FILE",
    "HEADERS",
    "NAME",
    "OFF",
    "ON",
    "ORIGIN",
    "PATTERN",
    "PROXY",
    "RATE",
    "SECONDS",
    "SECRET",
    "SIZE",
    "SUBPROTOCOL",
    "TARGET",
    "TARGETS",
    "URL",
    "WORD",
    "WORKERS",
    "Kind",
    "choice",
    "isLiteral",
    "secretVariable",
]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_RELATIVE_SOCKET = re.compile(r"unix:(?!/|\w+=)(?=.)")
_COUNT = re.compile("[1-9][0-9]{0,8}")
_MOST_WORKERS = 512
_SIZE = re.compile("([1-9][0-9]{0,14})([kKmMgG]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_log = Logger()


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What is said of an option, and what becomes of it.

    @ivar placeholder: what stands for it in the help; empty where nothing is said but the option's name, a flag.
    @ivar parse: makes a value of the option's name and the word; raises L{ConfigError}, which names both.
    @ivar choices: the words there are, where those are few.
    @ivar secret: what is said, and what becomes of it, is for nobody else to read.
    """

    placeholder: str
    parse: Callable[[str, str], Any]
    choices: tuple[str, ...] = ()
    secret: bool = False


def choice(*words: str) -> Kind:
    """One of these."""

    def parse(name: str, word: str) -> str:
        if word not in words:
            raise ConfigError(f"--{name} {word}: not one of {', '.join(words)}")
        return word

    return Kind("|".join(words), parse, words)


def secretVariable(word: str) -> str | None:
    """@return: the environment variable that the word of a secret names."""
    return word.removeprefix("env:") if word.startswith("env:") else None


def _word(name: str, word: str) -> str:
    return word


def _filled(name: str, word: str) -> str:
    if not word.strip():
        raise ConfigError(f"--{name} '{word}': empty")
    return word


def _endpoint(name: str, word: str) -> str:
    """C{unix:name} as C{unix:/full/path/name}; every other endpoint as it is."""
    if not _RELATIVE_SOCKET.match(_filled(name, word)):
        return word
    return f"unix:{quoteStringArgument(absolute('.'))}/{word.removeprefix('unix:')}"


def _target(name: str, word: str) -> str:
    """An endpoint; the URL of a WebSocket may hold secrets, and be in a file or the environment."""
    if not isLiteral(word):
        return _discreet(name, word).strip()
    if isWebSocketURL(word) and ("?" in word or "@" in word):
        shown = discreetTarget(word)
        _log.warn("--{name} {url}: all users of this machine can read it; use @FILE or env:NAME", name=name, url=shown)
    return _endpoint(name, word)


def _subprotocol(name: str, word: str) -> str:
    if not _TOKEN.fullmatch(word):
        raise ConfigError(f"--{name} {word}: not a subprotocol's name")
    return word


def _origin(name: str, word: str) -> str:
    OriginPolicy((word,))
    return word


def _url(name: str, word: str) -> str:
    """C{http://} or C{https://}, as it may stand in a log."""
    try:
        url = urlsplit(word)
        proper = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0 and not url.fragment
    except ValueError:  # a port that is none, half an address
        proper = False
    if "@" in word.partition("?")[0]:
        raise ConfigError(f"--{name}: no user and no password can be in it, where logs would have them")
    if not proper or not word.isascii() or not word.isprintable() or " " in word:
        raise ConfigError(f"--{name} {escape(word)}: expected http://HOST[:PORT]/PATH, or https:")
    return word


def _names(name: str, word: str) -> tuple[str, ...]:
    """Names of headers."""
    names = tuple(each.strip() for each in word.split(","))
    for each in names:
        if not _TOKEN.fullmatch(each):
            shown = escape(word)
            raise ConfigError(f"--{name} {shown}: expected names of headers with commas between, as in Remote-User")
    return names


def _clients(name: str, word: str) -> str:
    Networks((word,), f"--{name}")
    return word


def _proxy(name: str, word: str) -> str:
    TrustedProxies((word,))
    return word


def _reach(name: str, word: str) -> str:
    Reach((word,)) if name == "allow-target" else Reach(deny=(word,))
    return word


def _seconds(name: str, word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"--{name} {word}: not a number of seconds")
    return seconds


def _deadline(name: str, word: str) -> float:
    seconds = _seconds(name, word)
    if not seconds:
        raise ConfigError(f"--{name} {word}: nobody can be that fast")
    return seconds


def _size(name: str, word: str) -> int:
    """Bytes."""
    match = _SIZE.fullmatch(word)
    if match is None:
        raise ConfigError(f"--{name} {word}: not a number of bytes, such as 500000, 64k, 100M or 2G")
    return int(match[1]) * _UNITS[match[2].lower()]


def _rate(name: str, word: str) -> int:
    """Bytes a second; 0 for no limit."""
    return 0 if word == "0" else _size(name, word)


def _count(name: str, word: str) -> int:
    if not _COUNT.fullmatch(word):
        raise ConfigError(f"--{name} {word}: not a number from 1")
    return int(word)


def _workers(name: str, word: str) -> int:
    if word == "auto":
        return _processors()
    count = int(word) if _COUNT.fullmatch(word) else 0
    if not 1 <= count <= _MOST_WORKERS:
        raise ConfigError(f"--{name} {word}: neither a number from 1 to {_MOST_WORKERS} nor auto")
    return count


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _file(name: str, path: str) -> str:
    """The absolute path of a file that can be read now."""
    place = absolute(path)
    if os.path.exists(place) and not (os.path.isfile(place) or os.path.isdir(place)):
        raise ConfigError(f"--{name} {path}: not a regular file")  # to read a FIFO is to wait for its other end
    _read(name, path)
    return place


def _directory(name: str, path: str) -> str:
    try:
        os.scandir(absolute(path)).close()
    except OSError as error:
        raise ConfigError(f"--{name} {path}: {error.strerror}") from None
    return absolute(path)


def _name(name: str, word: str) -> str:
    if "/" in word:
        raise ConfigError(f"--{name} {word}: a name is wanted, not a path")
    return _filled(name, word)


def _pattern(name: str, path: str) -> str:
    return absolute(_filled(name, path))


def _secret(name: str, word: str) -> str:
    """The same, with a warning of what everybody can see."""
    if isLiteral(word) and isSeen():
        _log.warn("--{name}: all users of this machine can read it; use @FILE or env:NAME", name=name)
    secret = _discreet(name, word)
    if not secret.strip() and name != "key-password":  # which lets nobody in
        raise ConfigError(f"--{name}: empty, or the file or variable that it names is")
    return secret


def isLiteral(word: str) -> bool:
    """Whether the word of a secret is the secret, and not where it is."""
    return not word.startswith("@") and secretVariable(word) is None


def _discreet(name: str, word: str) -> str:
    """What C{@FILE} holds (less the newline at its end) or C{env:NAME} names; else the word itself."""
    if word.startswith("@"):
        return _read(name, word[1:]).rstrip("\r\n")
    variable = secretVariable(word)
    if variable is None:
        return word
    if variable not in os.environ:
        raise ConfigError(f"--{name} {word}: not in the environment")
    return os.environ[variable]


def _checker(name: str, word: str) -> str:
    """A string for C{twisted.cred.strcred}: a file has its absolute path; of a literal password is warned."""
    kind, _, argument = word.partition(":")
    if kind == "file" and argument:
        return f"file:{absolute(argument)}"
    return _secret(name, word) if kind == "memory" else _filled(name, _discreet(name, word))


def _read(name: str, path: str) -> str:
    try:
        return readSecretFile(absolute(path))
    except OSError as error:
        raise ConfigError(f"--{name} {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"--{name} {path}: not a text file") from None


ON = Kind("", lambda name, word: True)
OFF = Kind("", lambda name, word: False)
WORD = Kind("LIST", _filled)
ADDRESS = Kind("ADDRESS", _word)
ENDPOINT = Kind("ENDPOINT", _endpoint)
TARGET = Kind("ENDPOINT", _target)
ORIGIN = Kind("ORIGIN", _origin)
CLIENTS = Kind("CIDR", _clients)
PROXY = Kind("CIDR", _proxy)
SUBPROTOCOL = Kind("NAME", _subprotocol)
TARGETS = Kind("PATTERN", _reach)
SECONDS = Kind("SEC", _seconds)
DEADLINE = Kind("SEC", _deadline)
SIZE = Kind("SIZE", _size)
RATE = Kind("RATE", _rate)
COUNT = Kind("N", _count)
URL = Kind("URL", _url)
HEADERS = Kind("HEADERS", _names)
WORKERS = Kind("N", _workers)
FILE = Kind("FILE", _file)
DIRECTORY = Kind("DIR", _directory)
NAME = Kind("NAME", _name)
PATTERN = Kind("FILE", _pattern)
SECRET = Kind("SECRET", _secret, secret=True)
"""A literal one is warned of: it is seen in C{ps}."""
DISCREET = Kind("ARG", _discreet, secret=True)
"""What may be a secret, and may not: C{@FILE} and C{env:NAME} say where it is."""
EXPLAINED = Kind("URL", _discreet, secret=True)
EXPLAINED_HEADER = Kind("HEADER", _discreet, secret=True)
CHECKER = Kind("CHECKER", _checker, secret=True)
