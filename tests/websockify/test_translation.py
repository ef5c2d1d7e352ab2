"""What becomes of websockify's words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import LOCAL, Authority
from wsproxy.config import Config
from wsproxy.errors import ConfigError
from wsproxy.websockify.options import parse
from wsproxy.websockify.translation import Translation, translate

AUTHORITY = Authority()


class TranslationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)

    def told(self, *words: str) -> Translation:
        return translate(parse(words))

    def config(self, *words: str) -> Config:
        return self.told(*words).config

    def wrong(self, *words: str) -> str:
        return str(self.assertRaises(ConfigError, self.told, *words))

    def file(self, name: str, content: bytes = b"") -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def certificate(self, name: str = "cert.pem") -> str:
        return self.file(name, AUTHORITY.issue(*LOCAL).both)


class PlaceTests(TranslationCase):
    def test_listen(self) -> None:
        """PORT and :PORT are all addresses, HOST:PORT is one; IPv6 needs no brackets, and may have them."""
        for word, listen in (
            ("6080", "6080"),
            (":6080", "6080"),
            ("127.0.0.1:6080", "127.0.0.1:6080"),
            ("localhost:6080", "localhost:6080"),
            ("[::1]:6080", "[::1]:6080"),
            ("::1:6080", "[::1]:6080"),
            ("0", "0"),
        ):
            self.assertEqual(self.config(word, "h:1").listening.listen, (listen,), word)

    def test_target(self) -> None:
        """A target is HOST:PORT; where it has no host it is this one."""
        for word, target in (("h:5900", "h:5900"), ("::1:5900", "[::1]:5900"), (":5900", "localhost:5900")):
            self.assertEqual(self.config("6080", word).target.endpoint, target, word)

    def test_wrong(self) -> None:
        """Too few words, too many, and those that are none."""
        for words, named in (
            ((), "where to listen"),
            (("6080",), "where to go"),
            (("6080", "h:1", "x"), "x: one word too many"),
            (("6080", "h:1", "--token-plugin", "TokenFile", "--token-source", "x"), "h:1: one word too many"),
            (("port", "h:1"), "port: no port"),
            (("6080", "5900"), "5900: expected HOST:PORT"),
            (("6080", "h:vnc"), "h:vnc: no port"),
        ):
            self.assertIn(named, self.wrong(*words))

    def test_unixListen(self) -> None:
        """A socket file, for its owner alone unless told otherwise; the first word is then the target."""
        listening = self.config("--unix-listen", "a:b", "h:1").listening
        self.assertEqual(listening.listen, (f"unix:{self.folder}/a\\:b:mode=600",))
        told = self.config("--unix-listen", "s", "--unix-listen-mode", "0666", "h:1")
        self.assertEqual(told.listening.listen, (f"unix:{self.folder}/s:mode=0666",))
        self.assertEqual(told.target.endpoint, "h:1")
        self.assertIn("octal", self.wrong("--unix-listen", "s", "--unix-listen-mode", "rw", "h:1"))

    def test_unixTarget(self) -> None:
        """A socket file is the target, whatever is in its name."""
        self.assertEqual(self.config("6080", "--unix-target", "s:1").target.endpoint, f"unix:{self.folder}/s:1")
        self.assertIn("h:1: one word", self.wrong("6080", "h:1", "--unix-target", "s"))

    def test_inetd(self) -> None:
        """The socket on stdin takes the place of the first word."""
        config = self.config("--inetd", "h:1")
        self.assertEqual((config.listening.inetd, config.listening.listen), (True, ()))
        self.assertEqual(config.target.endpoint, "h:1")

    def test_program(self) -> None:
        """What follows -- is the target."""
        config = self.config("--wrap-mode", "respawn", "5901", "--", "prog", "-v")
        assert config.program is not None
        self.assertEqual((config.program.words, config.program.mode), (("prog", "-v"), "respawn"))
        self.assertIsNone(config.program.address)
        self.assertIn("h:1: one word", self.wrong("5901", "h:1", "--", "prog"))

    def test_programAndSocket(self) -> None:
        """Beside --unix-target a program is started, and known to listen there by itself."""
        config = self.config("--unix-target", "s", "5901", "--", "prog")
        assert config.program is not None
        self.assertEqual(config.program.address, f"unix:{self.folder}/s")

    def test_tokens(self) -> None:
        """Tokens take the place of the target; --target-config is the stronger one."""
        tokens = self.file("tokens", b"a: h:1\n")
        config = self.config("6080", "--token-plugin", "TokenFile", "--token-source", tokens, "--host-token")
        self.assertEqual((config.tokens.plugin, config.tokens.source, config.tokens.host), ("TokenFile", tokens, True))
        told = self.told("6080", "--target-config", "tokens", "--token-plugin", "X", "--token-source", "y")
        self.assertEqual((told.config.tokens.file, told.config.tokens.plugin), (tokens, None))
        self.assertIn("ignored: --token-plugin --token-source", told.warnings[-1])


class HabitTests(TranslationCase):
    """What has another default than C{twistd websockify}."""

    def test_origin(self) -> None:
        """Any page may connect, and one warning says so; not where ExpectOrigin was asked for."""
        told = self.told("6080", "h:1")
        self.assertEqual(told.config.sessions.origins, ("*",))
        self.assertEqual(["Origin" in warning for warning in told.warnings], [True])
        for plugin in ("ExpectOrigin", "websockify.auth_plugins.ExpectOrigin"):
            told = self.told("6080", "h:1", "--auth-plugin", plugin, "--auth-source", "https://a.example")
            self.assertEqual((told.config.sessions.origins, told.warnings), (("https://a.example",), []))

    def test_heartbeat(self) -> None:
        """Clients are pinged, unless they are not to be."""
        self.assertEqual(self.config("6080", "h:1").sessions.heartbeat, 25)
        self.assertEqual(self.config("6080", "h:1", "--heartbeat", "0").sessions.heartbeat, 0)

    def test_files(self) -> None:
        """There are no pages but the files of --web, listed unless --file-only."""
        self.assertEqual(self.config("6080", "h:1").web.pages, False)
        web = self.config("6080", "h:1", "--web", ".").web
        self.assertEqual((web.directory, web.listing, web.pages), (str(self.folder), True, False))
        self.assertFalse(self.config("6080", "h:1", "--web", ".", "--file-only").web.listing)

    def test_same(self) -> None:
        """What has the same name here is the same."""
        config = self.config(
            *("6080", "h:1", "--run-once", "--timeout", "3", "--idle-timeout", "4", "--record", "r", "-v"),
            *("--traffic", "--ssl-target", "--auth-plugin", "BasicHTTPAuth", "--auth-source", "u:p"),
            *("--web-auth", "--web", "."),
        )
        lifetime = config.lifetime
        self.assertEqual((lifetime.runOnce, lifetime.timeout, lifetime.idleTimeout), (True, 3, 4))
        assert config.recording is not None
        self.assertEqual(config.recording.path, f"{self.folder}/r")
        self.assertTrue(config.logging.verbose and config.logging.traffic and config.target.tls)
        who = config.authentication
        self.assertEqual((who.plugin, who.source, who.web), ("BasicHTTPAuth", "u:p", True))

    def test_process(self) -> None:
        """Daemon and logs are the process's, with paths that do not depend on where it goes."""
        told = self.told("6080", "h:1", "-D", "--log-file", "l", "--syslog", "dev/log", "--legacy-syslog")
        self.assertEqual((told.daemon, told.logFile, told.legacySyslog), (True, f"{self.folder}/l", True))
        self.assertEqual(told.syslog, f"{self.folder}/dev/log")
        self.assertEqual(self.told("6080", "h:1", "--syslog", "log.example:514").syslog, ("log.example", 514))
        self.assertIn("--syslog log.example:x", self.wrong("6080", "h:1", "--syslog", "log.example:x"))


class IgnoredTests(TranslationCase):
    def ignored(self, *words: str) -> list[str]:
        return [line for line in self.told(*words).warnings if line.startswith("ignored")]

    def test_one(self) -> None:
        """What was ignored there is ignored here, with one warning for all."""
        self.assertEqual(self.ignored("6080", "h:1", "-6"), [])
        [line] = self.ignored("6080", "h:1", "--libserver", "--wrap-mode=respawn", "--unix-listen-mode", "600")
        for name in ("--libserver", "--wrap-mode (without a program)", "--unix-listen-mode"):
            self.assertIn(name, line)
        self.assertEqual(len(self.ignored("-D", "--traffic", "6080", "h:1")), 1)

    def test_needs(self) -> None:
        """What the original says is missing is missing."""
        for words in (
            ("--token-source", "x"),
            ("--host-token",),
            ("--auth-source", "x"),
            ("--web-auth", "--web", "."),
            ("--web-auth", "--auth-plugin", "BasicHTTPAuth", "--auth-source", "u:p"),
            ("--legacy-syslog",),
        ):
            self.assertIn(f"{words[0]}: needs --", self.wrong("6080", "h:1", *words))


class TLSTests(TranslationCase):
    def tls(self, *words: str) -> Any:
        return self.config("6080", "h:1", *words).tls

    def test_missing(self) -> None:
        """Where there is no certificate there is no TLS, and what belongs to it is ignored; self.pem takes no place."""
        self.assertIsNone(self.tls())
        self.certificate("self.pem")
        told = self.told("6080", "h:1", "--cert", "no.pem", "--key", "no.key", "--ssl-ciphers", "x")
        self.assertIsNone(told.config.tls)
        self.assertIn("--cert --key --ssl-ciphers (there is no certificate)", told.warnings[-1])

    def test_default(self) -> None:
        """self.pem of the current directory is the certificate."""
        self.assertEqual(self.tls("--cert", self.certificate("self.pem")).certificate, self.tls().certificate)

    def test_only(self) -> None:
        """Without a certificate, what demands TLS cannot be."""
        for option in ("--ssl-only", "--verify-client"):
            self.assertIn(f"{option}: needs a certificate, and there is no self.pem", self.wrong("6080", "h:1", option))
        self.certificate("self.pem")
        self.assertTrue(self.tls("--ssl-only").only)

    def test_versions(self) -> None:
        """The original's words: what is older than TLS 1.2 means that, with a warning."""
        self.certificate("self.pem")
        for word, minimum, warnings in (
            ("default", "tlsv1_2", 1),
            ("tlsv1_1", "tlsv1_2", 1),
            ("tlsv1_2", "tlsv1_2", 0),
            ("tlsv1_3", "tlsv1_3", 0),
        ):
            told = self.told("6080", "h:1", "--ssl-version", word)
            assert told.config.tls is not None
            self.assertEqual(told.config.tls.minimum, minimum)
            self.assertEqual(len([line for line in told.warnings if "--ssl-version" in line]), warnings, word)

    def test_verifyClient(self) -> None:
        """Clients are verified by --cafile, or by the system's authorities; plaintext is refused beside that."""
        self.certificate("self.pem")
        authority = self.file("ca.pem", AUTHORITY.certificate.public_bytes(_pem()))
        self.assertEqual(self.tls("--verify-client", "--cafile", "ca.pem").authorities, authority)
        tls = self.tls("--verify-client")
        self.assertTrue(tls.only)
        self.assertTrue(os.path.exists(tls.authorities))
        told = self.told("6080", "h:1", "--cafile", "ca.pem")
        self.assertIn("--cafile (without --verify-client)", told.warnings[-1])


def _pem() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM
