"""What setup.cfg cannot say: parts that are data to Python, and made or fetched where that is possible.

rebind, a C library loaded into other programs, is built; the wheel is then one for this platform and any
Python 3. The npm packages that the pages use are fetched, as C{wsproxy/static/package-lock.json} has them.
Without a compiler or npm the rest works, and one line says what is left out.
"""

import filecmp
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from glob import glob

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

STATIC = "wsproxy/static"
# Of each package what a browser loads, and its licences.
VENDORED = {
    "@novnc/novnc": ["core/**/*.js", "vendor/**", "AUTHORS", "LICENSE.txt", "docs/LICENSE.*"],
    "@xterm/addon-fit": ["lib/addon-fit.mjs", "LICENSE"],
    "@xterm/xterm": ["lib/xterm.mjs", "css/xterm.css", "LICENSE"],
}
NPM_LIMIT = 180.0
"""Seconds after which npm is given up."""


class BuildParts(build_py):
    """Adds C{wsproxy/static/vendor}; C{wsproxy/process/rebind.so}, and its source beside it."""

    rebuilt = False

    def run(self):
        super().run()
        home = "." if self.editable_mode else self.build_lib
        self.addVendored(os.path.join(home, STATIC, "vendor"))
        if os.path.exists("rebind/rebind.c"):
            self.addRebind(home)

    def addVendored(self, vendor):
        # Kept beside what came of it, so that an editable install fetches only what has changed.
        lock, fetched = f"{STATIC}/package-lock.json", os.path.join(vendor, "package-lock.json")
        if os.path.exists(fetched) and filecmp.cmp(lock, fetched, shallow=False):
            return
        with tempfile.TemporaryDirectory() as scratch:
            obstacle = fetchPackages(scratch)
            if obstacle is not None:
                print(f"wsproxy: the telnet and VNC pages lack their parts: {obstacle}", file=sys.stderr)
                return
            shutil.rmtree(vendor, ignore_errors=True)
            for package, patterns in VENDORED.items():
                source = os.path.join(scratch, "node_modules", package)
                for name in (name for pattern in patterns for name in glob(pattern, root_dir=source, recursive=True)):
                    if os.path.isfile(os.path.join(source, name)):
                        target = os.path.join(vendor, package, name)
                        self.mkpath(os.path.dirname(target))
                        self.copy_file(os.path.join(source, name), target)
        self.copy_file(lock, fetched)

    def addRebind(self, home):
        if not self.editable_mode:
            sources = os.path.join(home, "wsproxy/process/rebind")
            self.mkpath(sources)
            for name in [*glob("rebind/*.[ch]"), "rebind/Makefile"]:
                self.copy_file(name, sources)
        obstacle = compileRebind()
        if obstacle is None:
            self.copy_file("rebind/rebind.so", os.path.join(home, "wsproxy/process/rebind.so"))
            self.rebuilt = True
        else:
            print(f"wsproxy: rebind is left out, programs cannot be wrapped: {obstacle}", file=sys.stderr)


def fetchPackages(folder):
    """What stands in the way of C{node_modules} in C{folder}; L{None} if it is there."""
    npm = os.environ.get("NPM", "npm")
    if shutil.which(npm) is None:
        return f"no {npm} on this machine"
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(STATIC, name), folder)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
    command = [npm, "ci", *options, "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=folder, timeout=NPM_LIMIT, check=False, text=True, capture_output=True)
    except subprocess.TimeoutExpired:
        return f"npm ci took more than {NPM_LIMIT:g} s"
    reasons = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
    return f"npm ci failed: {' / '.join(reasons[:3])}" if done.returncode else None


def compileRebind():
    """What stands in the way of C{rebind/rebind.so}; L{None} if it has been built."""
    compiler = os.environ.get("CC", "cc")
    for program in (shlex.split(compiler)[0], "make"):
        if shutil.which(program) is None:
            return f"no {program} on this machine"
    status = subprocess.call(["make", "-C", "rebind", f"CC={compiler}", "rebind.so"], stdout=sys.stderr)
    return f"make failed with status {status}" if status else None


class WheelWithRebind(bdist_wheel):
    def get_tag(self):
        python, abi, platform = super().get_tag()
        if platform == "any" and self.get_finalized_command("build_py").rebuilt:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        return python, abi, platform


setup(cmdclass={"build_py": BuildParts, "bdist_wheel": WheelWithRebind})
