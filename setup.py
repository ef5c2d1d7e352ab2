"""What setup.cfg cannot say: parts that are data to Python, and made or fetched where that is possible.

rebind, a C library loaded into other programs, is built; the wheel is then one for this platform and any
Python 3. The npm packages that the pages use are fetched, as C{wsproxy/static/package-lock.json} has them, and the
sdist carries them: a wheel built from that needs no npm.
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
from setuptools.command.sdist import sdist

STATIC = "wsproxy/static"
VENDOR = f"{STATIC}/vendor"
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
        obstacle = addVendored(os.path.join(home, VENDOR))
        if obstacle is not None:
            print(f"wsproxy: the telnet and VNC pages lack their parts: {obstacle}", file=sys.stderr)
        if os.path.exists("rebind/rebind.c"):
            self.addRebind(home)

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


class SourcesWithPackages(sdist):
    """Adds C{wsproxy/static/vendor}, so that who builds from the sdist needs no npm."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        obstacle = addVendored(os.path.join(base_dir, VENDOR))
        if obstacle is not None:
            print(f"wsproxy: the sdist lacks the npm packages: {obstacle}", file=sys.stderr)


def addVendored(vendor):
    """What stands in the way of the npm packages in this folder; L{None} if it is what the lock file asks for."""
    if isCurrent(vendor):
        return None
    if isCurrent(VENDOR):  # an sdist's, or those of an editable install
        shutil.rmtree(vendor, ignore_errors=True)
        shutil.copytree(VENDOR, vendor)
        return None
    with tempfile.TemporaryDirectory() as scratch:
        obstacle = fetchPackages(scratch)
        if obstacle is not None:
            return obstacle
        shutil.rmtree(vendor, ignore_errors=True)
        for package, patterns in VENDORED.items():
            source = os.path.join(scratch, "node_modules", package)
            for name in (name for pattern in patterns for name in glob(pattern, root_dir=source, recursive=True)):
                if os.path.isfile(os.path.join(source, name)):
                    target = os.path.join(vendor, package, name)
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copyfile(os.path.join(source, name), target)
    shutil.copyfile(f"{STATIC}/package-lock.json", os.path.join(vendor, "package-lock.json"))
    return None


def isCurrent(vendor):
    """Whether what is in this folder came of the lock file as it is, a copy of which is kept beside it."""
    fetched = os.path.join(vendor, "package-lock.json")
    return os.path.exists(fetched) and filecmp.cmp(f"{STATIC}/package-lock.json", fetched, shallow=False)


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


setup(cmdclass={"build_py": BuildParts, "bdist_wheel": WheelWithRebind, "sdist": SourcesWithPackages})
