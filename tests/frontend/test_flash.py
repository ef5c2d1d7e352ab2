"""Tests of L{wsproxy.frontend.flash}."""

from __future__ import annotations

from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.frontend.flash import policyFile


class PolicyFileTests(SynchronousTestCase):
    def test_opensOnePort(self) -> None:
        """The policy is well-formed XML that opens the given port, and no other, to every domain."""
        policy = ElementTree.fromstring(policyFile(6080).rstrip(b"\0"))
        self.assertEqual("cross-domain-policy", policy.tag)
        (rule,) = policy
        self.assertEqual("allow-access-from", rule.tag)
        self.assertEqual({"domain": "*", "to-ports": "6080"}, rule.attrib)

    def test_endsWithItsOnlyNUL(self) -> None:
        """The player reads up to a NUL: there is one, and it is the last byte."""
        self.assertEqual(len(policyFile(843)) - 1, policyFile(843).index(b"\0"))
