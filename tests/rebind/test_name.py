"""The name that a program sees of its moved sockets."""

from __future__ import annotations

from tests.rebind.wrapped import ProgramTestCase


class NameTests(ProgramTestCase):
    def test_sameAsWithout(self) -> None:
        """
        Listeners, their copies in the process and in its children, and accepted connections have the names
        they have without rebind, byte for byte and for any room given to getsockname; errno and lengths, too.
        """
        program = self.program("naming")
        plain = self.execute(program, str(self.old), preload="")
        self.assertEqual(plain.count("accepted 0 39 "), 8 * 29)
        settings = {"REBIND_OLD_PORT": str(self.old), "REBIND_NOTIFY": "/nonexistent/reports"}
        moved = self.execute(program, str(self.old), **settings)
        self.assertEqual(plain, moved)

    def test_linkLocal(self) -> None:
        """The scope of a link-local address is part of the name."""
        script = "s = tcp(socket.AF_INET6); s.bind(('fe80::1', OLD, 0, 1)); answer(s.getsockname())"
        self.assertEqual(self.move(script), ["fe80::1", self.old, 0, 1])

    def test_others(self) -> None:
        """A socket on loopback that is neither moved nor accepted on a moved one has its own name."""
        script = """
moved, other, six = tcp(), tcp(), tcp(socket.AF_INET6, True)
moved.bind(("", OLD))
moved.listen()
six.bind(("::1", truth(moved)[1]))
six.listen()
other.bind(("127.0.0.1", 0))
other.listen()
client = socket.create_connection(("127.0.0.1", truth(moved)[1]))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", truth(moved)[1]))
here, there = socket.socketpair()
answer([other.getsockname() == (*truth(other),), six.getsockname()[:2] == (*truth(six),),
        client.getsockname() == moved.accept()[1], datagrams.getsockname() == (*truth(moved),),
        here.getsockname()])
"""
        self.assertEqual(self.move(script, self.new), [True, True, True, True, ""])

    def test_exec(self) -> None:
        """A program that was handed the socket by exec sees where it really is."""
        script = """
s = tcp()
s.bind(("", OLD))
s.set_inheritable(True)
show = "import json, socket; print(json.dumps(socket.socket(fileno=%d).getsockname()))" % s.fileno()
os.execv(sys.executable, [sys.executable, "-c", show])
"""
        self.assertEqual(self.move(script, self.new), ["127.0.0.1", self.new])
