"""C{import websockify}, where that is not installed: the classes that old plugins derive from, under their old names.

::

    from websockify.token_plugins import BasePlugin ─► sys.meta_path ─► websockify, if it is installed
                                                                    └─► Finder: wsproxy.plugins.tokenbases

It stands last in the way of an import, so that an installed original always wins. It is there while a class is loaded,
and stays once that is an old one, whose methods may import, too; others are not to find what is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType

__all__ = ["Alias", "isOriginals"]

_PACKAGE = "websockify"
_MODULES = {
    f"{_PACKAGE}.token_plugins": "wsproxy.plugins.tokenbases",
    f"{_PACKAGE}.auth_plugins": "wsproxy.plugins.authbases",
}


def isOriginals(module: str) -> bool:
    """Whether it is one of those in which the original has its own plugins."""
    return module in _MODULES


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _PACKAGE:
            return ModuleSpec(name, _Names(None), is_package=True)
        # the package may be the installed one, which lacks only what it does not have
        return ModuleSpec(name, _Names(_MODULES[name])) if name in _MODULES and path == [] else None


class _Names(Loader):
    """@param origin: the module whose public names are the alias's."""

    def __init__(self, origin: str | None) -> None:
        self._origin = origin

    def exec_module(self, module: ModuleType) -> None:
        if self._origin is not None:
            origin = import_module(self._origin)
            vars(module).update({name: getattr(origin, name) for name in origin.__all__})


_finder = _Finder()


class Alias:
    """A context in which the original's modules can be imported; and afterwards, once L{keep} was called."""

    def __init__(self) -> None:
        self._kept = _finder in sys.meta_path

    def keep(self) -> None:
        self._kept = True

    def __enter__(self) -> Alias:
        if _finder not in sys.meta_path:
            sys.meta_path.append(_finder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if not self._kept:
            sys.meta_path.remove(_finder)
