"""How clients say where they want to go, where it is not the same for all of them.

C{python -m benchmarks.access} prints what it takes to look up a signed token, the first time and again.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Access", "AccessMaker", "linked", "listed", "signed"]


@dataclass(frozen=True)
class Access:
    """
    @ivar options: of the proxy, in place of C{--target}.
    @ivar path: what clients ask for.
    """

    options: tuple[str, ...]
    path: str


AccessMaker = Callable[[str, Path], Access]
"""Is told the target, and of an empty directory of the proxy's own."""

_DAY = 86400
_LINES = 100_000


def listed(target: str, directory: Path) -> Access:
    """A token in a long file."""
    lines = [f"{number:032x}: console{number}.example:5900\n" for number in range(1, _LINES)]
    (directory / "tokens").write_text("".join([*lines, f"here: {target}\n"]))
    source = str(directory / "tokens")
    return Access(("--token-plugin", "TokenFile", "--token-source", source), "/websockify?token=here")


def signed(target: str, directory: Path) -> Access:
    """A token that is signed with ES256, and verified with the public key alone."""
    source = str(directory / "public.pem")
    [token] = _sign(target, Path(source), 1)
    return Access(("--token-plugin", "JWTTokenApi", "--token-source", source), f"/websockify?token={token}")


def _sign(target: str, public: Path, count: int) -> list[str]:
    """@return: so many tokens for this target, to be verified with what C{public} is given."""
    from joserfc.jwk import ECKey
    from joserfc.jwt import encode

    key = ECKey.generate_key("P-256")
    public.write_bytes(key.as_pem(private=False))
    host, _, port = target.partition(":")
    claims = {"host": host, "port": int(port), "exp": int(time.time()) + _DAY, "sub": "alice"}
    return [encode({"alg": "ES256"}, {**claims, "jti": str(each)}, key, ["ES256"]) for each in range(count)]


def linked(target: str, directory: Path) -> Access:
    """A link, good until it expires."""
    (directory / "link.key").write_text("a key of thirty-two bytes or more")
    command = [sys.executable, "-c", "from wsproxy.command.wsproxy import main; main()", "token", "--expires", "1d"]
    words = ["--key", f"@{directory}/link.key", "--target", target, "--identity", "alice", "--url", "/websockify"]
    done = subprocess.run([*command, *words], check=True, capture_output=True, text=True)
    return Access(("--link-key", f"@{directory}/link.key"), done.stdout.strip())


def main() -> None:
    from wsproxy.tokens.jwt import JWTTokenApi

    with tempfile.TemporaryDirectory() as directory:
        public = Path(directory, "public.pem")
        tokens = _sign("localhost:5900", public, 100)
        for _ in range(5):
            plugin = JWTTokenApi(str(public))
            for what in ("first", "again"):
                began = time.process_time()
                for token in tokens:
                    plugin.lookup(token)
                print(f"{what}: {(time.process_time() - began) / len(tokens) * 1e6:.1f} µs")


if __name__ == "__main__":
    main()
