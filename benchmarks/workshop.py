"""What a run needs, made when it is missing: the load generator, a certificate, and an environment for the peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["Workshop"]

_here = Path(__file__).resolve().parent


class Workshop:
    """
    @ivar root: the checkout.
    @ivar load: the load generator.
    @ivar target: the servers behind the proxies.
    @ivar certificate: a PEM file with an ECDSA key and its certificate.
    @ivar environment: a virtual environment with websockify and, for the plot, matplotlib if it can be had.
    @ivar results: where the figures of a run are kept, and C{picture} their plot.
    """

    def __init__(self, output: Path | None = None) -> None:
        """@param output: the directory for results; L{None} for the one where everything is made."""
        self.root = _here.parent
        self._directory = self.root / ".build" / "benchmarks"
        self.load = self._directory / "load"
        self.target = self._directory / "target"
        self.certificate = self._directory / "certificate.pem"
        self.environment = self._directory / "environment"
        self.results = (output or self._directory) / "results.json"
        self.picture = self.results.with_suffix(".png")

    def prepare(self) -> None:
        """@raise CalledProcessError: with the output of what failed on stderr."""
        self._directory.mkdir(parents=True, exist_ok=True)
        _run("make", "-s", "-C", str(_here / "load"), f"OUT={self._directory}")
        if not self.certificate.exists():
            self._makeCertificate()
        if not (self.environment / "bin" / "websockify").exists():
            _run(sys.executable, "-m", "venv", str(self.environment))
            pip = (str(self.environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
            _run(*pip, "websockify", "numpy")
            subprocess.run([*pip, "matplotlib"], check=False)

    def draw(self, module: str, results: Path, picture: Path) -> None:
        """Have C{module} make a picture of results, where there is matplotlib, and say what there is now."""
        python = self.environment / "bin" / "python"
        drawn = subprocess.run(
            [python, "-m", module, results, picture], cwd=self.root, capture_output=True, check=False
        )
        print("written:", results, *([] if drawn.returncode else [picture]), file=sys.stderr)

    def _makeCertificate(self) -> None:
        key, certificate = self._directory / "key.pem", self._directory / "self-signed.pem"
        _run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        )
        self.certificate.write_bytes(key.read_bytes() + certificate.read_bytes())


def _run(*command: str) -> None:
    completed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if completed.returncode:
        sys.stderr.buffer.write(completed.stdout)
        completed.check_returncode()
