"""Where a program's socket ends up when it binds the port to move, and what is left alone."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys

from tests.rebind.wrapped import PRELUDE, ProgramTestCase


class MoveTests(ProgramTestCase):
    def test_ipv4(self) -> None:
        """Whatever IPv4 address a program binds, the kernel has its socket on 127.0.0.1, at the new port."""
        for host in "0.0.0.0", "127.0.0.1", "127.0.0.2", "192.0.2.1":
            script = f"s = tcp(); s.bind(({host!r}, OLD)); s.listen(); answer(truth(s))"
            self.assertEqual(self.move(script, self.new), ["127.0.0.1", self.new], host)

    def test_ipv6(self) -> None:
        """Whatever IPv6 address a program binds, the kernel has its socket on ::1."""
        for host in "::", "::1", "2001:db8::1":
            script = f"s = tcp(socket.AF_INET6, True); s.bind(({host!r}, OLD)); s.listen(); answer(truth(s))"
            self.assertEqual(self.move(script, self.new), ["::1", self.new], host)

    def test_dualStack(self) -> None:
        """A socket for both families goes to ::1."""
        script = "s = tcp(socket.AF_INET6); s.bind(('::', OLD)); s.listen(); answer(truth(s))"
        self.assertEqual(self.move(script, self.new), ["::1", self.new])

    def test_noScope(self) -> None:
        """So does one that is bound to an address without a scope, of 24 bytes as in RFC 2133."""
        script = """
import ctypes
s = tcp(socket.AF_INET6)
address = socket.AF_INET6.to_bytes(2, sys.byteorder) + OLD.to_bytes(2, "big") + bytes(20)
result = ctypes.CDLL(None).bind(s.fileno(), address, len(address))
s.listen()
answer([result, truth(s)])
"""
        self.assertEqual(self.move(script, self.new), [0, ["::1", self.new]])

    def test_mapped(self) -> None:
        """An IPv6 socket that serves IPv4 only goes on doing so."""
        for host in "::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:192.0.2.1":
            script = f"s = tcp(socket.AF_INET6); s.bind(({host!r}, OLD)); s.listen(); answer(truth(s))"
            self.assertEqual(self.move(script, self.new), ["::ffff:127.0.0.1", self.new], host)

    def test_kernelChooses(self) -> None:
        """Without a new port, or with 0, each bind gets a port of its own."""
        script = """
one, two = tcp(), tcp()
for s in one, two:
    s.bind(("0.0.0.0", OLD))
    s.listen()
answer([truth(one), truth(two)])
"""
        for new in None, 0:
            one, two = self.move(script, new)
            self.assertEqual([one[0], two[0]], ["127.0.0.1"] * 2)
            self.assertEqual(len({one[1], two[1], self.old, 0}), 4)

    def test_bothFamilies(self) -> None:
        """A program that binds 0.0.0.0 and [::] has both, on one new port or on two."""
        script = """
four, six = tcp(), tcp(socket.AF_INET6, True)
four.bind(("0.0.0.0", OLD))
six.bind(("::", OLD))
four.listen()
six.listen()
answer([truth(four), truth(six)])
"""
        self.assertEqual(self.move(script, self.new), [["127.0.0.1", self.new], ["::1", self.new]])
        four, six = self.move(script)
        self.assertEqual([four[0], six[0]], ["127.0.0.1", "::1"])
        self.assertNotIn(self.old, (four[1], six[1]))

    def test_again(self) -> None:
        """A program that closes its socket and binds again is moved again."""
        script = """
found = []
for _ in range(2):
    with tcp() as s:
        s.bind(("0.0.0.0", OLD))
        s.listen()
        found.append(truth(s))
answer(found)
"""
        self.assertEqual(self.move(script, self.new), [["127.0.0.1", self.new]] * 2)

    def test_multipath(self) -> None:
        """A Multipath TCP socket is moved like any other."""
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
        except OSError:
            self.missing("Multipath TCP is needed")
        script = """
s = tcp(protocol=262)
s.bind(("0.0.0.0", OLD))
s.listen()
client = socket.create_connection(("127.0.0.1", int(os.environ["REBIND_NEW_PORT"])))
answer(s.accept()[0].getsockname())
"""
        self.assertEqual(self.move(script, self.new), ["127.0.0.1", self.old])

    def test_clearedEnvironment(self) -> None:
        """A program that clears its environment before it binds is moved all the same."""
        script = "os.environ.clear(); s = tcp(); s.bind(('', OLD)); s.listen(); answer(truth(s))"
        self.assertEqual(self.move(script, self.new), ["127.0.0.1", self.new])

    def test_noLoopback6(self) -> None:
        """
        On a machine without ::1 a socket for both families goes to 127.0.0.1, is reported so, and shows what
        it asked for; one for IPv6 alone fails.
        """
        reports = self.reports()
        namespace = ("unshare", "--user", "--map-root-user", "--net")
        prepare = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6"
        try:
            subprocess.run([*namespace, "sh", "-c", prepare], check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError):
            self.missing("a network namespace without IPv6 is needed")
        script = f"""{PRELUDE}
dual, six = tcp(socket.AF_INET6), tcp(socket.AF_INET6, True)
dual.bind(("::", OLD))
dual.listen()
try:
    six.bind(("::", OLD))
except OSError as e:
    answer([dual.getsockname()[:2], truth(dual), e.errno])
"""
        environment = (
            f"LD_PRELOAD={self.library}",
            f"REBIND_OLD_PORT={self.old}",
            "REBIND_NEW_PORT=6001",
            f"REBIND_NOTIFY={reports.name}",
        )
        inside = f'{prepare} && exec env {" ".join(environment)} "$@"'
        command = (*namespace, "sh", "-c", inside, "sh", sys.executable, "-S", "-c", script, str(self.old))
        self.assertEqual(
            self.execute(*command, preload=""),
            f'[["::", {self.old}], ["::ffff:127.0.0.1", 6001], {errno.EADDRNOTAVAIL}]\n',
        )
        self.assertEqual(
            [[report[1], *report[3:]] for report in reports.received()],
            [[event, "inet", "127.0.0.1", "6001", str(self.old), "*"] for event in ("bind", "listen")],
        )


class FailureTests(ProgramTestCase):
    def test_takenNewPort(self) -> None:
        """A new port that is taken is EADDRINUSE, and the socket can still be bound elsewhere."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        script = """
s = tcp()
try:
    s.bind(("0.0.0.0", OLD))
except OSError as e:
    s.bind(("127.0.0.1", 0))
    answer(e.errno)
"""
        self.assertEqual(self.move(script, taken.getsockname()[1]), errno.EADDRINUSE)

    def test_boundAlready(self) -> None:
        """Binding the same socket twice is EINVAL."""
        script = """
s = tcp()
s.bind(("0.0.0.0", OLD))
try:
    s.bind(("0.0.0.0", OLD))
except OSError as e:
    answer(e.errno)
"""
        self.assertEqual(self.move(script), errno.EINVAL)


class PassThroughTests(ProgramTestCase):
    def test_results(self) -> None:
        """Null, short and long addresses, other families, UDP: result and errno are those without rebind."""
        program = self.program("passing")
        plain = self.execute(program, str(self.old), preload="")
        self.assertIn(f"null with a length -1 {errno.EFAULT}\n", plain)
        self.assertIn(f"v4 datagrams 0 {errno.ENOTEMPTY}\n", plain)
        self.assertEqual(plain, self.execute(program, str(self.old), REBIND_OLD_PORT=str(self.old)))

    def test_others(self) -> None:
        """Other ports, the kernel's choice and UDP sockets stay where the program put them."""
        script = f"""
other, any, datagrams = tcp(), tcp(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.bind(("0.0.0.0", {self.new}))
other.listen()
any.bind(("0.0.0.0", 0))
any.listen()
datagrams.bind(("0.0.0.0", OLD))
answer([truth(other), truth(any)[0], any.getsockname()[0], datagrams.getsockname()])
"""
        self.assertEqual(self.move(script), [["0.0.0.0", self.new], "0.0.0.0", "0.0.0.0", ["0.0.0.0", self.old]])

    def test_badVariables(self) -> None:
        """A port that is anything but decimal digits in range turns rebind off."""
        script = "s = tcp(); s.bind(('0.0.0.0', OLD)); s.listen(); answer([truth(s), s.getsockname()])"
        old = str(self.old)
        bad = ["", "-1", "65536", str(2**32 + self.old), "x", "0x50"]
        bad += [f"{old}x", f" {old}", f"{old} ", f"{old}\n", f"+{old}"]
        matrix = [{"REBIND_OLD_PORT": value} for value in [*bad, "0"]]
        matrix += [{"REBIND_OLD_PORT": old, "REBIND_NEW_PORT": value} for value in bad]
        matrix += [{"REBIND_OLD_PORT": "*", "REBIND_NEW_PORT": value} for value in [*bad, str(self.new)]]
        matrix += [{}, {"REBIND_NEW_PORT": str(self.new)}]
        for variables in matrix:
            with_rebind = self.answer(script, **variables)
            self.assertEqual(with_rebind, [["0.0.0.0", self.old], ["0.0.0.0", self.old]], variables)
