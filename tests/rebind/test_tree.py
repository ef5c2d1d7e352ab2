"""Programs that share a port: in use is what would be in use without rebind, and whoever listens is reported."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from array import array
from typing import Any

from tests.components import requireComponent
from tests.rebind.wrapped import PRELUDE, ProgramTestCase, Reports

# every pair of these, the second while the first listens
PAIRS = """
import errno, itertools

def ask(host, reuse=True, v6only=False, port=False):
    made = tcp(socket.AF_INET6 if ":" in host else socket.AF_INET, v6only)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    if port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((host, OLD))
        made.listen()
        return made, made.getsockname()
    except OSError as e:
        return made, errno.errorcode[e.errno]

asks = [
    dict(host=host, reuse=reuse)
    for host in ("0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::ffff:0.0.0.0", "::ffff:127.0.0.1")
    for reuse in (True, False)
]
asks += [dict(host="::", v6only=True), dict(host="0.0.0.0", port=True), dict(host="127.0.0.2", port=True)]
found = []
for first, second in itertools.product(asks, repeat=2):
    with ask(**first)[0]:
        other, name = ask(**second)
        other.close()
        found.append([first, second, name])
answer(found)
"""


class Answering:
    """Reads reports as the supervisor does, and lets their senders go on when it has."""

    def __init__(self, reports: Reports) -> None:
        self.received: list[list[str]] = []
        self._socket = reports.socket
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, passed, _, _ = self._socket.recvmsg(1000, 1000)
                self.received.append(line.decode("ascii").split())
                for _, _, descriptors in passed:
                    for descriptor in array("i", descriptors):
                        os.close(descriptor)


class TreeTestCase(ProgramTestCase):
    """@ivar tree: the port of the tree, which we guard."""

    def setUp(self) -> None:
        super().setUp()
        guard = socket.socket()
        self.addCleanup(guard.close)
        while True:
            self.tree = random.randrange(10000, 32768)
            with contextlib.suppress(OSError):
                guard.bind(("127.0.0.1", self.tree))
                break

    def share(self, script: str, old: str | None = None, **variables: str) -> Any:
        """What a script answers whose port L{old} is moved, or every one, as in a tree."""
        return self.answer(script, REBIND_OLD_PORT=old or str(self.old), REBIND_TREE_PORT=str(self.tree), **variables)

    def place(self, kind: int) -> str:
        """The address that stands for one kind of address that L{old} is asked for at."""
        return f"127.{kind}.{self.old >> 8}.{self.old & 255}"


class InUseTests(TreeTestCase):
    """Whether a port is in use is what the kernel says without rebind."""

    def setUp(self) -> None:
        super().setUp()
        self.old = self.unusedPort()

    def unusedPort(self) -> int:
        """A port that is free for sockets without SO_REUSEADDR, too."""
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            return int(probe.getsockname()[1])

    def test_pairs(self) -> None:
        """Of any two sockets that ask for one port, the second has it, and its name, or EADDRINUSE, as without."""
        plain = self.answer(PAIRS, preload="")
        self.assertEqual(len(plain), 17**2)
        self.assertIn("EADDRINUSE", [name for _, _, name in plain])
        for old in None, "*":
            for without, moved in zip(plain, self.share(PAIRS, old), strict=True):
                self.assertEqual(without, moved)

    def test_free(self) -> None:
        """Bound and closed again a port is free again, with and without SO_REUSEADDR; other ports always were."""
        script = """
for reuse in 0, 1, 0:
    for other in 0, 1:
        s = tcp()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        s.bind(("", OLD))
        if other:
            s.listen()
        s.close()
a, b = tcp(), tcp()
a.bind(("", OLD))
a.listen()
b.bind(("", OLD % 65535 + 1))
b.listen()
answer([truth(a), truth(b)])
"""
        one, two = self.share(script, "*")
        self.assertEqual((one[1], two[1]), (self.tree, self.tree))
        self.assertNotEqual(one[0], two[0])

    def test_timeWait(self) -> None:
        """After a server has closed its connections, its port is in use for those without SO_REUSEADDR, as always."""
        script = """
import errno
listener = tcp()
listener.bind(("127.0.0.1", OLD))
listener.listen()
client = socket.create_connection(truth(listener))
accepted = listener.accept()[0]
accepted.close()
listener.close()
client.close()
found = []
for reuse in 0, 1:
    again = tcp()
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    try:
        again.bind(("127.0.0.1", OLD))
        found.append("bound")
    except OSError as e:
        found.append(errno.errorcode[e.errno])
answer(found)
"""
        expected = ["EADDRINUSE", "bound"]
        self.assertEqual(self.answer(script, preload=""), expected)
        self.assertEqual(self.share(script), expected)

    def test_socat(self) -> None:
        """A second program on the port ends, in its own words, while the first one listens."""
        socat = requireComponent("socat")
        script = f"""
import subprocess, time
command = [{socat!r}, "TCP-LISTEN:%d,reuseaddr,fork" % OLD, "SYSTEM:echo hello"]
first = subprocess.Popen(command)
try:
    while True:
        try:
            s = socket.create_connection(({self.place(1)!r}, {self.tree}))
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
    second = subprocess.run(command, capture_output=True, timeout=10)
    answer([s.makefile().read(), second.returncode, second.stderr.decode()])
finally:
    first.kill()
    first.wait()
"""
        said, status, complaint = self.share(script)
        self.assertEqual((said, status), ("hello\n", 1))
        self.assertIn("Address already in use", complaint)

    def test_inherited(self) -> None:
        """The port is in use until the last process that has the socket has closed it."""
        script = """
import errno
def bound():
    with tcp() as s:
        try:
            s.bind(("", OLD))
            return "bound"
        except OSError as e:
            return errno.errorcode[e.errno]
read, write = os.pipe()
listener = tcp()
listener.bind(("", OLD))
listener.listen()
child = os.fork()
if child == 0:
    os.close(write)
    os.read(read, 1)
    os._exit(0)
listener.close()
found = [bound()]
os.close(write)
os.wait()
answer([*found, bound()])
"""
        self.assertEqual(self.share(script), ["EADDRINUSE", "bound"])

    def test_others(self) -> None:
        """Nobody else can take the port from a program that has closed it for a moment."""
        self.share("s = tcp(); s.bind(('', OLD)); s.listen(); s.close(); answer(0)")
        for family, host in (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"):
            with socket.socket(family) as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.assertRaises(OSError, thief.bind, (host, self.tree))

    def test_names(self) -> None:
        """
        What a program sees of its sockets is what it sees without rebind, byte for byte, but for one thing: who
        accepts on all addresses of both families sees IPv4.
        """
        program = self.program("naming")
        plain = self.execute(program, str(self.old), preload="")
        variables = {"REBIND_OLD_PORT": str(self.old), "REBIND_TREE_PORT": str(self.tree)}
        moved = self.execute(program, str(self.old), **variables)
        for without, line in zip(plain.splitlines(), moved.splitlines(), strict=True):
            if without != line:
                self.assertTrue(line.startswith("accepted "), line)
                self.assertEqual(len(without), len(line))
        self.assertEqual(plain.count("\n"), moved.count("\n"))

    def test_oneAddress(self) -> None:
        """Where the loopback interface has but one IPv4 address each bind gets a port of the kernel's choice there."""
        prepare = "ip link set lo up && ip address flush dev lo && ip address add 127.0.0.1/32 dev lo"
        namespace = ("unshare", "--user", "--map-root-user", "--net")
        try:
            subprocess.run([*namespace, "sh", "-c", prepare], check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError):
            self.missing("a network namespace with a loopback interface of our own is needed")
        script = f"""{PRELUDE}
s = tcp()
s.bind(("", OLD))
s.listen()
answer([truth(s)[0], truth(s)[1] != OLD, s.getsockname()])
"""
        variables = f"LD_PRELOAD={self.library} REBIND_OLD_PORT={self.old} REBIND_TREE_PORT={self.tree}"
        inside = f'{prepare} && exec env {variables} "$@"'
        command = (*namespace, "sh", "-c", inside, "sh", sys.executable, "-S", "-c", script, str(self.old))
        self.assertEqual(json.loads(self.execute(*command, preload="")), ["127.0.0.1", True, ["0.0.0.0", self.old]])


class ListenTests(TreeTestCase):
    """One process binds, another listens."""

    def heard(self, script: str, old: str | None = None) -> list[list[str]]:
        """The reports of sockets that listen, without the process."""
        reports = self.reports()
        answering = Answering(reports)
        self.share(script, old, REBIND_NOTIFY=reports.name)
        return [[*words[3:]] for words in answering.received if words[1] == "listen"]

    EXEC = """
import subprocess
s = tcp({family}, {v6only})
s.bind(({host!r}, OLD))
listen = "import json, socket, sys; s = socket.socket(fileno=%d); s.listen(); print(json.dumps(s.getsockname()))"
command = [sys.executable, "-c", listen % s.fileno()]
answer([s.getsockname(), json.loads(subprocess.check_output(command, pass_fds=[s.fileno()]))])
"""

    def test_exec(self) -> None:
        """A program that was given the socket by exec reports where it listens, and sees the name it has asked for."""
        for host, kind, asked in ("0.0.0.0", 1, "0.0.0.0"), ("127.0.0.1", 2, "127.0.0.1"), ("::", 3, "*"):
            family = "socket.AF_INET6" if ":" in host else "socket.AF_INET"
            script = self.EXEC.format(family=family, v6only=False, host=host)
            before, after = self.share(script)
            self.assertEqual(before, after)
            for old in None, "*":
                (report,) = self.heard(script, old)
                self.assertEqual(report, ["inet", self.place(kind), str(self.tree), str(self.old), asked])

    def test_execOther(self) -> None:
        """Of any other address the place tells the port alone."""
        script = self.EXEC.format(family="socket.AF_INET", v6only=False, host="127.0.0.7")
        _, after = self.share(script)
        self.assertEqual(after, ["127.0.0.1", self.old])
        (report,) = self.heard(script)
        self.assertEqual(report[2:], [str(self.tree), str(self.old), "127.0.0.1"])

    def test_execIPv6(self) -> None:
        """A socket for IPv6 alone is reported as well, where every port is moved without the port: who reads knows."""
        script = self.EXEC.format(family="socket.AF_INET6", v6only=True, host="::")
        (report,) = self.heard(script)
        self.assertEqual(report, ["inet6", "::1", str(self.tree), str(self.old), "::"])
        (report,) = self.heard(script, "*")
        self.assertEqual([report[1], *report[3:]], ["::1", "0", "::1"])

    def test_passed(self) -> None:
        """So does a process that was handed the socket, and is no descendant of who bound it."""
        script = """
here, there = socket.socketpair()
if os.fork() == 0:
    s = tcp()
    s.bind(("", OLD))
    here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, s.fileno().to_bytes(4, sys.byteorder))])
    os._exit(0)
_, passed, _, _ = there.recvmsg(1, 100)
s = socket.socket(fileno=int.from_bytes(passed[0][2][:4], sys.byteorder))
s.listen()
os.wait()
answer(s.getsockname())
"""
        (report,) = self.heard(script)
        self.assertEqual(report[3:], [str(self.old), "0.0.0.0"])

    def test_accepted(self) -> None:
        """What a process accepts on a socket that it was handed has the port that was asked for."""
        script = self.EXEC.replace(
            "s.listen(); print(json.dumps(s.getsockname()))",
            f"s.listen(); c = socket.create_connection(({self.place(1)!r}, {self.tree})); a = s.accept()[0]; "
            "print(json.dumps(a.getsockname()))",
        ).format(family="socket.AF_INET", v6only=False, host="")
        self.assertEqual(self.share(script)[1], ["127.0.0.1", self.old])


# every kind of listener, and every way to its port
CONNECT = """
import errno

def connect(host):
    with tcp(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        try:
            client.connect((host, OLD))
            return client.getpeername()[:2] if host in ("127.0.0.1", "::1", "", "::") else "connected"
        except OSError as e:
            return errno.errorcode[e.errno]

found = []
for host, v6only in ("", 0), ("127.0.0.1", 0), ("127.0.0.2", 0), ("::", 0), ("::", 1), ("::1", 0), (None, 0):
    listener = None
    if host is not None:
        listener = tcp(socket.AF_INET6 if ":" in host else socket.AF_INET, v6only)
        listener.bind((host, OLD))
        listener.listen()
    for to in "127.0.0.1", "127.0.0.2", "", "::1", "::", "::ffff:127.0.0.1":
        found.append([host, v6only, to, connect(to)])
    if listener is not None:
        listener.close()
answer(found)
"""


class ConnectTests(TreeTestCase):
    """Who connects to the port meets who listens there, and not who has it outside."""

    def setUp(self) -> None:
        super().setUp()
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            self.old = probe.getsockname()[1]

    def outside(self) -> None:
        """Somebody has the port outside of the tree."""
        proxy = socket.create_server(("::", self.old), family=socket.AF_INET6, dualstack_ipv6=True)
        self.addCleanup(proxy.close)

    def test_everyWay(self) -> None:
        """Each way to each kind of listener leads there or is refused as without rebind, and shows the same."""
        plain = self.answer(CONNECT, preload="")
        self.assertIn("ECONNREFUSED", [result for *_, result in plain])
        self.assertEqual(self.share(CONNECT, "*"), plain)
        self.outside()
        self.assertEqual(self.share(CONNECT), plain)

    def test_waiting(self) -> None:
        """A client that does not wait is told as ever when it is connected, or refused."""
        script = """
import errno, select
found = []
listener = tcp()
for listening in 0, 1:
    if listening:
        listener.bind(("", OLD))
        listener.listen()
    client = tcp()
    client.setblocking(False)
    found.append(client.connect_ex(("127.0.0.1", OLD)) == errno.EINPROGRESS)
    select.select([], [client], [], 10)
    found.append(errno.errorcode.get(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "connected"))
answer(found)
"""
        self.outside()
        self.assertEqual(self.share(script), [True, "ECONNREFUSED", True, "connected"])

    def test_others(self) -> None:
        """Where every port is moved, one that nobody of the tree has leads to who has it."""
        self.outside()
        script = "client = socket.create_connection(('127.0.0.1', OLD)); answer(client.getpeername())"
        self.assertEqual(self.share(script, "*"), ["127.0.0.1", self.old])


class AnswerTests(TreeTestCase):
    """Whoever listens is known to do so before it goes on."""

    def test_waits(self) -> None:
        """The program goes on when its report has been read, and leaves no descriptor behind."""
        reports = self.reports()
        answering = Answering(reports)
        script = """
before = os.listdir("/proc/self/fd")
s = tcp()
s.bind(("", OLD))
s.listen()
s.close()
answer([before, os.listdir("/proc/self/fd")])
"""
        before, after = self.share(script, REBIND_NOTIFY=reports.name)
        self.assertEqual(before, after)
        self.assertEqual([words[1] for words in answering.received], ["bind", "listen"])

    def test_nobodyAnswers(self) -> None:
        """It goes on without an answer where there is nobody any more, and after 2 s for each where nobody reads."""
        gone = self.reports()
        gone.socket.close()
        for name in "", gone.name, "@none", self.reports().name:
            script = "s = tcp(); s.bind(('', OLD)); s.listen(); answer(s.getsockname())"
            self.assertEqual(self.share(script, REBIND_NOTIFY=name), ["0.0.0.0", self.old])

    def test_badVariable(self) -> None:
        """A port of the tree that is anything but decimal digits in range, or beside a new port, turns rebind off."""
        script = "s = tcp(); s.bind(('127.0.0.1', OLD)); s.listen(); answer(truth(s))"
        for value in "", "x", "-1", "65536", f" {self.tree}":
            self.tree = value  # type: ignore[assignment]
            self.assertEqual(self.share(script), ["127.0.0.1", self.old], value)
        self.assertEqual(self.move(script, self.new, REBIND_TREE_PORT="10000"), ["127.0.0.1", self.old])


class SanitizedTests(TreeTestCase):
    def test_programs(self) -> None:
        """AddressSanitizer and UndefinedBehaviorSanitizer find nothing in what these programs make it do."""
        preload = self.sanitizedLibrary()
        reports = self.reports()
        Answering(reports)
        variables = {"REBIND_OLD_PORT": str(self.old), "REBIND_TREE_PORT": str(self.tree)}
        self.answer(CONNECT, preload=preload, ASAN_OPTIONS="detect_leaks=0", **variables)
        for name in "passing", "naming", "vforks":
            program = self.program(name, "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
            self.execute(program, str(self.old), preload=preload, REBIND_NOTIFY=reports.name, **variables)
