"""What tests need beyond Python packages: programs of the operating system.

Without one of them, its tests are skipped; where everything must run (WSPROXY_REQUIRE_ALL), they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from unittest import SkipTest

__all__ = ["require", "requireComponent"]


def requireComponent(name: str, *alternatives: str) -> str:
    """
    @param alternatives: other names or paths of the same program.
    @return: the path of the first that exists.
    @raise SkipTest: there is none.
    """
    paths = [shutil.which(program) for program in (name, *alternatives)]
    found = next(filter(None, paths), None)
    require(name, lambda: found is not None)
    assert found is not None
    return found


def require(name: str, isThere: Callable[[], object]) -> None:
    """
    For what is not a program: a privilege, a package of another language.

    @raise SkipTest: C{isThere} says it is not.
    """
    if not isThere():
        if os.environ.get("WSPROXY_REQUIRE_ALL"):
            raise AssertionError(f"{name} is missing, and WSPROXY_REQUIRE_ALL is set")
        raise SkipTest(f"{name} is missing")
