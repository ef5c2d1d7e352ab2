"""The user that a process is to become."""

from __future__ import annotations

import os
import pwd

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.command.lesser import checkUser
from wsproxy.errors import ConfigError


class UserTests(SynchronousTestCase):
    def test_unknown(self) -> None:
        """A number that nobody has cannot be become, and what can be done instead is told in one line."""
        known = {user.pw_uid for user in pwd.getpwall()}
        free = next(number for number in range(54321, 65000) if number not in known)
        for uid in (free, -1, 1 << 40):
            error = self.assertRaises(ConfigError, checkUser, uid)
            self.assertIn(f"--uid {uid}: no user has this number", str(error))
            self.assertEqual(str(error).count("\n"), 0)

    def test_known(self) -> None:
        """Those whom passwd knows are fine, and so is to stay who one is."""
        checkUser(pwd.getpwuid(os.getuid()).pw_uid)
        checkUser(None)
