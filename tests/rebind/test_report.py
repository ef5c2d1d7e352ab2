"""What the supervisor is told, and that telling it never disturbs the program."""

from __future__ import annotations

import socket

from tests.rebind.wrapped import ProgramTestCase, Reports

SERVE = """
s = tcp()
s.bind(("0.0.0.0", OLD))
s.listen()
answer([os.getpid(), *truth(s)])
"""


class ReportTests(ProgramTestCase):
    def test_bindAndListen(self) -> None:
        """One report comes at bind, one at listen: process, family, address, port; port and address asked for."""
        for reports in self.reports(), self.reports(abstract=True):
            pid, host, port = self.move(SERVE, REBIND_NOTIFY=reports.name)
            fields = [str(pid), "inet", host, str(port), str(self.old), "0.0.0.0"]
            self.assertEqual(reports.received(), [["1", "bind", *fields], ["1", "listen", *fields]])

    def test_families(self) -> None:
        """Each socket is reported with the family that a client has to speak."""
        script = """
places = ("0.0.0.0", "::", "::ffff:0.0.0.0")
sockets = [tcp(socket.AF_INET6 if ":" in host else socket.AF_INET) for host in places]
for s, host in zip(sockets, places):
    s.bind((host, OLD))
    s.listen()
answer([truth(s)[1] for s in sockets])
"""
        reports = self.reports()
        ports = [str(port) for port in self.move(script, REBIND_NOTIFY=reports.name)]
        self.assertEqual(
            [report[3:6] for report in reports.received() if report[1] == "listen"],
            [["inet", "127.0.0.1", ports[0]], ["inet6", "::1", ports[1]], ["inet", "127.0.0.1", ports[2]]],
        )

    def test_asked(self) -> None:
        """The address asked for is told as a client would spell it, and * is all addresses of both families."""
        script = """
for host in "127.0.0.2", "::ffff:127.0.0.2", "::1", "::":
    for v6only in (False, True) if host == "::" else (False,):
        s = tcp(socket.AF_INET6 if ":" in host else socket.AF_INET, v6only)
        s.bind((host, OLD))
answer(None)
"""
        reports = self.reports()
        self.move(script, REBIND_NOTIFY=reports.name)
        self.assertEqual([report[-1] for report in reports.received()], ["127.0.0.2", "127.0.0.2", "::1", "*", "::"])

    def test_everyPort(self) -> None:
        """With * every port asked for by number is moved, and each socket keeps its own name; port 0 is left alone."""
        script = """
first, second, free = tcp(), tcp(), tcp()
first.bind(("", OLD))
second.bind(("127.0.0.1", OTHER))
free.bind(("", 0))
for s in first, second, free:
    s.listen()
clients = [socket.create_connection(truth(s)) for s in (first, second)]
names = [s.accept()[0].getsockname() for s in (first, second)]
answer([truth(first), truth(second), truth(free)[0], first.getsockname(), second.getsockname(), names])
""".replace("OTHER", str(self.new))
        reports = self.reports()
        first, second, free, *names = self.answer(script, REBIND_OLD_PORT="*", REBIND_NOTIFY=reports.name)
        self.assertEqual(
            [report[3:] for report in reports.received() if report[1] == "listen"],
            [
                ["inet", "127.0.0.1", str(first[1]), str(self.old), "0.0.0.0"],
                ["inet", "127.0.0.1", str(second[1]), str(self.new), "127.0.0.1"],
            ],
        )
        self.assertEqual(free, "0.0.0.0")
        olds = [["127.0.0.1", self.old], ["127.0.0.1", self.new]]
        self.assertEqual(names, [["0.0.0.0", self.old], ["127.0.0.1", self.new], olds])

    def test_probe(self) -> None:
        """A socket that is bound just to see whether the port is free is never reported as listening."""
        reports = self.reports()
        script = "s = tcp(); s.bind(('', OLD)); s.close(); s = tcp(); s.listen(); answer(None)"
        self.move(script, REBIND_NOTIFY=reports.name)
        self.assertEqual([report[1] for report in reports.received()], ["bind"])

    def test_others(self) -> None:
        """Sockets that are not moved are not reported."""
        reports = self.reports()
        self.move("s = tcp(); s.bind(('', 0)); s.listen(); answer(None)", REBIND_NOTIFY=reports.name)
        self.assertEqual(reports.received(), [])

    def test_grandchild(self) -> None:
        """What a grandchild of the program binds is reported, with the grandchild's process id."""
        script = """
import subprocess
serve = "import socket, os; s = socket.socket(); s.bind(('', %d)); s.listen(); print(os.getpid())" % OLD
shell = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", serve]
answer([os.getpid(), int(subprocess.check_output(shell))])
"""
        reports = self.reports()
        program, grandchild = self.move(script, REBIND_NOTIFY=reports.name)
        self.assertNotEqual(program, grandchild)
        self.assertEqual(
            [report[1:3] for report in reports.received()],
            [["bind", str(grandchild)], ["listen", str(grandchild)]],
        )

    def test_fork(self) -> None:
        """A socket that the parent bound is reported when a forked child listens on it."""
        script = """
s = tcp()
s.bind(("", OLD))
child = os.fork()
if child == 0:
    s.listen()
    os._exit(0)
os.wait()
answer([os.getpid(), child, s.getsockname()[1]])
"""
        reports = self.reports()
        parent, child, port = self.move(script, REBIND_NOTIFY=reports.name)
        self.assertEqual(
            [report[1:3] for report in reports.received()], [["bind", str(parent)], ["listen", str(child)]]
        )
        self.assertEqual(port, self.old)


class NobodyListensTests(ProgramTestCase):
    def test_nobody(self) -> None:
        """A program runs as well where nobody takes its reports, or none can be sent there."""
        directory = self.temporaryDirectory()
        gone = self.reports()
        gone.socket.close()
        names = [
            "",
            gone.name,
            f"{directory}/none",
            directory,
            "@",
            "@none",
            "x" * 107,
            "y" * 108,
            "z" * 5000,
        ]
        for name in names:
            answer = self.move(SERVE, self.new, REBIND_NOTIFY=name)
            self.assertEqual(answer[1:], ["127.0.0.1", self.new], name)

    def test_longestName(self) -> None:
        """A name may have 107 bytes, as a path and as an abstract one; with more there are no reports."""
        for reports in self.named(107), self.named(107, "@"):
            self.move(SERVE, REBIND_NOTIFY=reports.name)
            self.assertEqual([report[1] for report in reports.received()], ["bind", "listen"])
        reports = self.named(108, "@")
        self.move(SERVE, REBIND_NOTIFY=reports.name)
        self.assertEqual(reports.received(), [])

    def named(self, length: int, prefix: str = "") -> Reports:
        """A place for reports whose name has this many bytes."""
        name = f"{prefix}{self.temporaryDirectory()}/"
        reports = Reports(name + "n" * (length - len(name)))
        self.addCleanup(reports.socket.close)
        return reports

    def test_fullQueue(self) -> None:
        """A supervisor that does not read loses reports; the program is not kept waiting."""
        reports = self.reports()
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sender.close)
        sender.setblocking(False)
        sent = 0
        try:
            while True:
                sender.sendto(b"1 filler\n", reports.name)
                sent += 1
        except BlockingIOError:
            pass
        self.move(SERVE, REBIND_NOTIFY=reports.name)
        self.assertEqual(reports.received(), [["1", "filler"]] * sent)

    def test_descriptors(self) -> None:
        """Reporting leaves no descriptor open in the program."""
        script = """
before = os.listdir("/proc/self/fd")
s = tcp()
s.bind(("", OLD))
s.listen()
s.close()
answer([before, os.listdir("/proc/self/fd")])
"""
        before, after = self.move(script, REBIND_NOTIFY=self.reports().name)
        self.assertEqual(before, after)

    def test_noDescriptor(self) -> None:
        """A program that has no descriptor to spare is moved all the same."""
        script = """
import resource
s = tcp()
resource.setrlimit(resource.RLIMIT_NOFILE, (s.fileno() + 1, s.fileno() + 1))
s.bind(("", OLD))
s.listen()
answer(s.getsockname())
"""
        reports = self.reports()
        self.assertEqual(self.move(script, REBIND_NOTIFY=reports.name), ["0.0.0.0", self.old])
        self.assertEqual(reports.received(), [])
