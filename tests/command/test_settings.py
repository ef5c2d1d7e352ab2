"""What was given by name, without a command line: as a file will give it."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.option import PROGRAM
from wsproxy.command.settings import forgetSecrets, makeConfig
from wsproxy.config import Config, ListeningConfig, ProgramConfig, SessionsConfig, TargetConfig
from wsproxy.errors import ConfigError


class SettingsTests(SynchronousTestCase):
    """Each test in an empty directory of its own."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)

    def test_names(self) -> None:
        """Names and words are those of the command line; a repeatable option has a list of them."""
        given = {"target": "demo:", "heartbeat": "3", "origin": ["*", "null"], "no-pump": True}
        sessions = SessionsConfig(origins=("*", "null"), heartbeat=3.0, pump=False)
        self.assertEqual(makeConfig(given), Config(target=TargetConfig("demo:"), sessions=sessions))

    def test_program(self) -> None:
        """A program has a name of its own."""
        config = makeConfig({PROGRAM: ("sh",), "every-port": True})
        self.assertEqual(config, Config(ListeningConfig(()), program=ProgramConfig(("sh",), everyPort=True)))

    def test_complaints(self) -> None:
        """They are those of the command line."""
        for given, line in (
            ({}, "--target is missing: say where the data goes, or demo: for a first look"),
            ({"target": "demo:", "index": "i"}, "--index i: needs --web"),
            ({"target": "demo:", "key": ""}, "--key '': needs a certificate (--cert)"),
            ({"target": "demo:", "workers": "2", "run-once": True}, "--run-once: clashes with --workers 2"),
            ({"target": "demo:", "drain": "x"}, "--drain x: not a number of seconds"),
        ):
            self.assertEqual(str(self.assertRaises(ConfigError, makeConfig, given)), line)

    def test_given(self) -> None:
        """What was given is left as it is, where a default is found beside it."""
        Path("self.pem").touch()
        given = {"target": "demo:"}
        self.assertIsNotNone(makeConfig(given).tls)
        self.assertEqual(given, {"target": "demo:"})

    def test_forget(self) -> None:
        """A variable that held a secret is gone; one of that name that is no secret's stays."""
        with mock.patch.dict(os.environ, {"A": "sesame", "B": "text"}):
            forgetSecrets({"key-password": "env:A", "target": "env:B", PROGRAM: ("env:B",)})
            self.assertEqual((os.environ.get("A"), os.environ.get("B")), (None, "text"))
            forgetSecrets({"key-password": "@file"})
