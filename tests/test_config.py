"""The settings in their groups."""

from __future__ import annotations

import inspect

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.config import GROUPS, ClientsConfig, Config, SessionsConfig, TLSConfig, asKeywords
from wsproxy.factory import WebSockifyFactory


class GroupTests(SynchronousTestCase):
    def test_groups(self) -> None:
        """Each is known by its field, those that may be missing too."""
        self.assertEqual((GROUPS["sessions"], GROUPS["tls"]), (SessionsConfig, TLSConfig))
        for name, group in GROUPS.items():
            value = getattr(Config(), name)
            self.assertTrue(value is None or type(value) is group, name)

    def test_factory(self) -> None:
        """What embedders may say has the names that it has here, and the defaults."""
        parameters = inspect.signature(WebSockifyFactory).parameters
        for group in (ClientsConfig(), SessionsConfig()):
            for name, default in asKeywords(group).items():
                self.assertEqual(parameters[name].default, default)
