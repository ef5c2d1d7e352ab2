"""The command line: which words make which L{Config}, and what is said about the others."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from unittest import mock

from twisted.logger import capturedLogs
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.usage import Options
from wsproxy.config import (
    ClientsConfig,
    Config,
    LifetimeConfig,
    ListeningConfig,
    LoggingConfig,
    ProgramConfig,
    RecordingConfig,
    SessionsConfig,
    TargetConfig,
    TLSConfig,
    WebConfig,
)


class OptionsTestCase(SynchronousTestCase):
    """Each test in an empty directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)

    def parse(self, *words: str) -> Config:
        options = Options()
        options.parseOptions(words)
        return options.config

    def file(self, name: str, content: str = "") -> str:
        (self.directory / name).write_text(content)
        return str(self.directory / name)

    def complaint(self, *words: str) -> str:
        """The one line with which these words are refused, without its beginning."""
        line = str(self.assertRaises(SystemExit, self.parse, *words).code)
        beginning = "twistd websockify: "
        self.assertTrue(line.startswith(beginning), line)
        self.assertNotIn("\n", line)
        return line.removeprefix(beginning)


class ConfigTests(OptionsTestCase):
    """Words that make sense."""

    def test_defaults(self) -> None:
        """A target is all that must be said; every other field has the default that C{Config} has."""
        self.assertEqual(self.parse("-t", "demo:"), Config(target=TargetConfig("demo:")))

    def test_everything(self) -> None:
        """Each option arrives in its field."""
        files = {name: self.file(name) for name in ("cert", "key", "ca", "target-ca")}
        (self.directory / "web").mkdir()
        words = (
            "--listen 6080 -l [::1]:6081 --target tls:localhost:5900 --cert cert --key key --key-password"
            " @key --ssl-only --ssl-version tlsv1_3 --ssl-ciphers ALL --verify-client --cafile ca"
            " --ssl-target --target-cafile target-ca --web web --index start.html --web-listing --no-pages"
            " --no-flash-policy --run-once --timeout 1 --idle-timeout 2.5 --heartbeat 3 --connect-timeout 4"
            " --handshake-timeout 5 --drain 6 --subprotocol mqtt --subprotocol sip --text --raw --raw-after 7"
            " --origin https://a.example --origin * --verbose --record rec --record-max-size 100M --record-keep 7"
            " --record-required --traffic --bandwidth 300k"
        )
        expected = Config(
            listening=ListeningConfig(("6080", "[::1]:6081")),
            target=TargetConfig("tls:localhost:5900", connectTimeout=4, tls=True, authorities=files["target-ca"]),
            clients=ClientsConfig(handshakeTimeout=5, raw=True, rawAfter=7.0, flashPolicy=False),
            sessions=SessionsConfig(
                origins=("https://a.example", "*"),
                subprotocols=("mqtt", "sip"),
                text=True,
                heartbeat=3,
                bandwidth=300 << 10,
            ),
            tls=TLSConfig(
                files["cert"],
                key=files["key"],
                password="",
                only=True,
                minimum="tlsv1_3",
                ciphers="ALL",
                verifyClient=True,
                authorities=files["ca"],
            ),
            web=WebConfig(str(self.directory / "web"), index="start.html", listing=True, pages=False),
            recording=RecordingConfig(str(self.directory / "rec"), maxSize=100 << 20, keep=7, required=True),
            lifetime=LifetimeConfig(runOnce=True, timeout=1, idleTimeout=2.5, drain=6),
            logging=LoggingConfig(verbose=True, traffic=True),
        )
        self.assertEqual(self.parse(*words.split()), expected)

    def test_program(self) -> None:
        """What follows -- is a program with its own options, instead of a target."""
        self.assertEqual(
            self.parse("--", "prog", "--listen", "--"), Config(program=ProgramConfig(("prog", "--listen", "--")))
        )
        self.assertEqual(
            self.parse("--listen", "23", "--wrap-mode", "respawn", "--", "in.telnetd", "-debug", "23"),
            Config(ListeningConfig(("23",)), program=ProgramConfig(("in.telnetd", "-debug", "23"), mode="respawn")),
        )
        self.assertEqual(
            self.parse("--every-port", "--", "prog"),
            Config(ListeningConfig(()), program=ProgramConfig(("prog",), everyPort=True)),
        )

    def test_targetInsecure(self) -> None:
        """A target over TLS may go unverified, however TLS was asked for."""
        self.assertTrue(self.parse("-t", "tls:h:1", "--target-insecure").target.insecure)
        self.assertTrue(self.parse("-t", "h:1", "--ssl-target", "--target-insecure").target.insecure)

    def test_defaultCertificate(self) -> None:
        """C{self.pem} in the current directory is the certificate when no other is named."""
        certificate = self.file("self.pem")
        self.assertEqual(self.parse("-t", "demo:", "--ssl-only").tls, TLSConfig(certificate, only=True))
        other = self.file("other.pem")
        self.assertEqual(self.parse("-t", "demo:", "--cert", "other.pem").tls, TLSConfig(other))

    def test_waiting(self) -> None:
        """A FIFO, C{self.pem} or another, is refused at once: nobody may ever write to it. So is a device."""
        os.mkfifo(self.directory / "self.pem")
        self.assertEqual(self.complaint("-t", "demo:"), "--cert self.pem: not a regular file")
        self.file("cert")
        for words in (["--key"], ["--verify-client", "--cafile"]):
            line = self.complaint("-t", "demo:", "--cert", "cert", *words, "self.pem")
            self.assertEqual(line, f"{words[-1]} self.pem: not a regular file")
        self.assertEqual(self.complaint("-t", "demo:", "--cert", "/dev/zero"), "--cert /dev/zero: not a regular file")

    def test_relativeSockets(self) -> None:
        """The path of a unix socket becomes absolute, with its colons escaped as endpoint strings want it."""
        odd = self.directory / "a:b"
        odd.mkdir()
        os.chdir(odd)
        config = self.parse("-l", "unix:in:mode=660", "-t", "unix:out")
        where = f"{self.directory}/a\\:b"
        self.assertEqual(
            (config.listening.listen, config.target.endpoint),
            ((f"unix:{where}/in:mode=660",), f"unix:{where}/out"),
        )

    def test_sizes(self) -> None:
        """A size is in bytes, or in binary multiples of them."""
        for word, size in {"500": 500, "64k": 65536, "3M": 3 << 20, "2G": 2 << 30, "1m": 1 << 20}.items():
            config = self.parse("-t", "demo:", "--record", "rec", "--record-max-size", word)
            self.assertEqual(config.recording, RecordingConfig(str(self.directory / "rec"), maxSize=size))

    def test_otherEndpoints(self) -> None:
        """Endpoints that hold no relative path are left as they are."""
        for endpoint in ("unix:/run/x", "unix:path=x", "unix", "localhost:5900", "tcp:unix:80"):
            self.assertEqual(self.parse("-t", endpoint, "-l", endpoint).target.endpoint, endpoint)

    def test_version(self) -> None:
        """C{--version} succeeds."""
        with mock.patch("builtins.print") as printed:
            self.assertEqual(self.assertRaises(SystemExit, self.parse, "--version").code, 0)
        self.assertTrue(printed.call_args.args[0].startswith("wsproxy "))


class SecretTests(OptionsTestCase):
    """Where a password comes from."""

    def setUp(self) -> None:
        super().setUp()
        self.file("self.pem")

    def password(self, word: str) -> str | None:
        tls = self.parse("-t", "demo:", "--key-password", word).tls
        assert tls is not None
        return tls.password

    def test_file(self) -> None:
        """From a file, without the newline at its end, and without a warning."""
        self.file("secret", " open sesame \n")
        with capturedLogs() as logs:
            self.assertEqual(self.password("@secret"), " open sesame ")
        self.assertEqual(logs, [])

    def test_environment(self) -> None:
        """From the environment, without a warning; whatever is started later does not find it there any more."""
        with mock.patch.dict(os.environ, {"SECRET": "sesame"}), capturedLogs() as logs:
            self.assertEqual(self.password("env:SECRET"), "sesame")
            self.assertNotIn("SECRET", os.environ)
        self.assertEqual(logs, [])

    def test_literal(self) -> None:
        """In full, with a warning that does not repeat it."""
        with capturedLogs() as logs:
            self.assertEqual(self.password("sesame"), "sesame")
        self.assertEqual([event["name"] for event in logs], ["key-password"])
        self.assertNotIn("sesame", str(logs))

    def test_missing(self) -> None:
        """A file or variable that is not there is named."""
        for word, line in (
            ("@nowhere", "--key-password nowhere: No such file or directory"),
            ("env:NO_SUCH_VARIABLE", "--key-password env:NO_SUCH_VARIABLE: not in the environment"),
        ):
            self.assertEqual(self.complaint("-t", "demo:", "--key-password", word), line)

    def test_empty(self) -> None:
        """One that is empty is a mistake, whatever it would be taken for: so is the name of who decides."""
        self.patch(os, "environ", {"NOTHING": ""})
        for name in ("link-key", "auth", "admin-token"):
            for word in ("", " ", "env:NOTHING"):
                target = () if name == "link-key" else ("-t", "demo:")
                line = self.complaint(*target, "--admin", "0", f"--{name}={word}")
                self.assertTrue(line.startswith(f"--{name}"), line)
                self.assertIn("empty", line)
        for name in ("auth-plugin", "token-plugin", "ssl-ciphers"):
            target = () if name == "token-plugin" else ("-t", "demo:")
            self.assertEqual(self.complaint(*target, f"--{name}="), f"--{name} '': empty")
        for word in ("alice:", ":secret"):
            line = self.complaint("-t", "demo:", "--auth-plugin", "BasicHTTPAuth", "--auth-source", word)
            self.assertEqual(line, "--auth-source: the name or the password is empty")
        line = self.complaint("-t", "demo:", "--auth-plugin", "ExpectOrigin", "--auth-source", " ")
        self.assertEqual(line, "--auth-plugin ExpectOrigin: needs --auth-source: origins, with blanks between")


class HelpTests(OptionsTestCase):
    def test_short(self) -> None:
        """C{-h} is C{--help}."""
        for word in ("-h", "--help"):
            out = io.StringIO()
            self.patch(sys, "stdout", out)
            self.assertEqual(self.assertRaises(SystemExit, self.parse, word).code, 0)
            self.assertIn("--handshake-timeout", out.getvalue())
            self.assertIn("-h, --help", out.getvalue())


class ComplaintTests(OptionsTestCase):
    """Words that make no sense are answered with one line that names the option and its value."""

    def test_noTarget(self) -> None:
        """There must be a target."""
        self.assertIn("--target is missing", self.complaint())

    def test_unknown(self) -> None:
        """What getopt refuses names the option."""
        for words, name in (
            (["--bogus"], "--bogus"),
            (["-x"], "-x"),
            (["--text=1"], "--text"),
            (["-l"], "-l"),
        ):
            self.assertIn(name, self.complaint("-t", "demo:", *words))

    def test_twice(self) -> None:
        """An option that is given twice is refused, however it is spelled, unless it may be repeated."""
        for words, name in (
            (["--drain", "1", "--drain", "2"], "drain"),
            (["--drain", "1", "--dra=1"], "drain"),
            (["-v", "--verbose"], "verbose"),
            (["--target", "demo:"], "target"),
        ):
            self.assertEqual(self.complaint("-t", "demo:", *words), f"--{name}: given twice")
        words = ["-l", "1", "--listen", "2", "--origin", "*", "--origin", "http://a", "--subprotocol", "a"]
        self.assertEqual(self.parse("-t", "demo:", *words, "--subprotocol", "b").listening.listen, ("1", "2"))
        self.assertEqual(self.parse("--", "prog", "--drain", "1", "--drain", "2").lifetime.drain, 0)

    def test_positional(self) -> None:
        """An argument that belongs to no option is answered with how to say it."""
        self.assertEqual(
            self.complaint("8080", "vnc:5901"), "8080: unexpected; say it as --listen 8080 --target vnc:5901"
        )
        for words in (["6080"], ["6080", "x:1", "y"]):
            self.assertIn("--listen 6080 --target localhost:5900", self.complaint(*words))

    def test_workers(self) -> None:
        """What one process alone can do clashes with several; what would not do it does not."""
        program = ["--every-port", "--", "sh"]
        for words, line in (
            (["-t", "demo:", "--run-once"], "--run-once: clashes with --workers 2"),
            (["-t", "demo:", "--timeout", "3"], "--timeout 3: clashes with --workers 2"),
            (["-t", "demo:", "--idle-timeout", "3"], "--idle-timeout 3: clashes with --workers 2"),
            (["-t", "demo:", "--traffic"], "--traffic: clashes with --workers 2"),
            (program, "--every-port: clashes with --workers 2"),
        ):
            self.assertIn(line, self.complaint("--workers", "2", *words))
            self.parse("--workers", "1", *words)
        self.assertEqual(self.parse("-t", "demo:", "--workers", "2", "--timeout", "0").listening.workers, 2)

    def test_workersAuto(self) -> None:
        """C{auto} is as many as there are processors that we may use."""
        self.patch(os, "sched_getaffinity", lambda pid: {0, 3, 5})
        self.assertEqual(self.parse("-t", "demo:", "--workers", "auto").listening.workers, 3)

    def test_workersAutoElsewhere(self) -> None:
        """Where the system does not say, as many as there are, or one."""
        self.patch(os, "sched_getaffinity", None)
        del os.sched_getaffinity
        for count, workers in ((4, 4), (None, 1)):
            self.patch(os, "cpu_count", lambda count=count: count)
            self.assertEqual(self.parse("-t", "demo:", "--workers", "auto").listening.workers, workers)

    def test_values(self) -> None:
        """A value that cannot be meant is refused."""
        self.file("self.pem")
        for name, values in {
            "listen": ["", " "],
            "target": [""],
            "timeout": ["soon", "-1", "nan", "inf", "1e999", ""],
            "idle-timeout": ["-0.1"],
            "workers": ["", "0", "-1", "two", "1.5", "513", "1000000000"],
            "heartbeat": ["1s"],
            "bandwidth": ["00", "-1", "fast", "1.5M", ""],
            "bandwidth-per-identity": ["0k", "-1", "fast", "1.5M", ""],
            "drain": ["x"],
            "connect-timeout": ["0", "-1"],
            "handshake-timeout": ["0"],
            "ssl-version": ["tlsv1_1", "1.3"],
            "record": ["", " "],
            "record-max-size": ["0", "-1", "1.5M", "1T", "k", ""],
            "record-keep": ["0", "-1", "all", "1e3"],
            "subprotocol": ["", "a b", "a,b", "é"],
            "origin": ["", "example.com", "https://a.example/", "https://", "//a.example", "nul"],
        }.items():
            for value in values:
                target = () if name == "target" else ("-t", "demo:")
                line = self.complaint(*target, f"--{name}={value}")
                self.assertTrue(line.startswith(f"--{name} "), line)
                self.assertIn(f"{value}", line)

    def test_files(self) -> None:
        """A file or directory that cannot be read is refused, with the reason the system gives."""
        self.file("self.pem")
        (self.directory / "folder").mkdir()
        (self.directory / "binary").write_bytes(b"\xff\x00")
        certified = ("--verify-client",)
        for words, line in {
            ("--cert", "no"): "--cert no: No such file or directory",
            ("--cert", "binary"): "--cert binary: not a text file",
            ("--key", "folder"): "--key folder: Is a directory",
            (*certified, "--cafile", "no"): "--cafile no: No such file or directory",
            ("--ssl-target", "--target-cafile", "no"): "--target-cafile no: No such file or directory",
            ("--web", "no"): "--web no: No such file or directory",
            ("--web", "self.pem"): "--web self.pem: Not a directory",
            ("--web", "folder", "--index", "a/b"): "--index a/b: a name is wanted, not a path",
            ("--web", "folder", "--index", ""): "--index '': empty",
        }.items():
            self.assertEqual(self.complaint("-t", "demo:", *words), line)

    def test_clashes(self) -> None:
        """An option without the one that gives it a meaning is refused, rather than ignored."""
        for words in (
            ["--key", "k"],
            ["--ssl-only"],
            ["--ssl-version", "tlsv1_3"],
            ["--ssl-ciphers", "ALL"],
            ["--verify-client"],
            ["--cafile", "c"],
            ["--target-insecure"],
            ["--target-cafile", "c"],
            ["--web-listing"],
            ["--index", "i"],
            ["--record-max-size", "1k"],
            ["--record-keep", "1"],
            ["--record-required"],
        ):
            line = self.complaint("-t", "demo:", *words)
            self.assertTrue(line.startswith(f"{' '.join(words)}: needs "), line)
        line = self.complaint("-t", "demo:", "--raw-only", "--legacy")
        self.assertEqual(line, "--legacy: clashes with --raw-only, which knows nothing but bytes")

    def test_verification(self) -> None:
        """Verifying clients takes both the demand and the authorities."""
        self.file("self.pem")
        self.assertIn("needs --cafile", self.complaint("-t", "demo:", "--verify-client"))
        self.assertIn("needs --verify-client", self.complaint("-t", "demo:", "--cafile", "self.pem"))

    def test_verifiedOnly(self) -> None:
        """A port that demands certificates speaks TLS only."""
        self.file("self.pem")
        self.file("ca.pem")
        for words, only in ((["--verify-client", "--cafile", "ca.pem"], True), ([], False)):
            tls = self.parse("-t", "demo:", *words).tls
            assert tls is not None
            self.assertEqual(tls.only, only)

    def test_insecureAuthorities(self) -> None:
        """Authorities for a target that is not verified contradict themselves."""
        line = self.complaint("-t", "tls:h:1", "--target-cafile", "c", "--target-insecure")
        self.assertEqual(line, "--target-cafile c: clashes with --target-insecure")

    def test_programs(self) -> None:
        """A program takes the target's place, and some options make sense with one only."""
        for line, *words in (
            ("--: a program is wanted behind it", "--"),
            ("--: a program is wanted behind it", "--", ""),
            ("--target demo:: clashes with the program, -- prog", "--target", "demo:", "--", "prog"),
            ("--wrap-mode exit: needs a program, behind --", "--target", "demo:", "--wrap-mode", "exit"),
            ("--every-port: needs a program, behind --", "--target", "demo:", "--every-port"),
            ("--wrap-mode often: not one of exit, ignore, respawn", "--wrap-mode", "often", "--", "prog"),
            ("--every-port: clashes with --listen", "--every-port", "--listen", "80", "--", "prog"),
            ("--raw-after 2: needs --raw", "--raw-after", "2", "--target", "demo:"),
            ("--raw-after soon: not a number of seconds", "--raw", "--raw-after", "soon", "--target", "demo:"),
        ):
            self.assertEqual(self.complaint(*words), line)

    def test_secretIsNotRepeated(self) -> None:
        """A password without a certificate is refused without showing it."""
        line = self.complaint("-t", "demo:", "--key-password", "sesame")
        self.assertEqual(line, "--key-password: needs a certificate (--cert)")

    def test_trafficOfDaemon(self) -> None:
        """Traffic marks need a terminal, which a daemon has not."""

        class Twistd(usage.Options):
            optFlags = [["nodaemon", "n", ""]]
            subCommands = [["websockify", None, Options, ""]]

        words = ["websockify", "-t", "demo:", "--traffic"]
        Twistd().parseOptions(["-n", *words])
        self.assertIn("--traffic: needs twistd -n", str(self.assertRaises(SystemExit, Twistd().parseOptions, words)))

    def test_oneLine(self) -> None:
        """Control characters and lone surrogates in the operator's words cannot break the line."""
        line = self.complaint("-t", "demo:", "--timeout", "a\nb\x1b[2J\udcff")
        self.assertEqual(line, "--timeout a\\nb\\x1b[2J\\udcff: not a number of seconds")
