"""What the documents say of the admin side: its routes, and the metrics that the dashboard shows."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.twistd import ROOT
from wsproxy.admin.levels import LEVELS
from wsproxy.admin.office import ROUTES, Office
from wsproxy.metrics.counts import nothing
from wsproxy.metrics.exposition import Now, exposition


class OpenAPITests(SynchronousTestCase):
    def setUp(self) -> None:
        self.document: dict[str, Any] = json.loads((ROOT / "docs/admin/openapi.json").read_text("utf-8"))

    def operations(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def test_routes(self) -> None:
        """Each route is described, by its name and with its parameters, and no other."""
        described = {
            key: (operation["operationId"], [each["name"] for each in operation.get("parameters", ())])
            for key, operation in self.operations().items()
        }
        routes = {
            (route.method, route.path): (route.name, ["id"] * ("{id}" in route.path) + [*route.parameters])
            for route in ROUTES
        }
        self.assertEqual(described, routes)
        for route in ROUTES:
            self.assertTrue(callable(getattr(Office, route.name)), route)

    def test_references(self) -> None:
        """What is referred to is there, and what is there is referred to."""
        schemas = set(self.document["components"]["schemas"])
        self.assertEqual(set(re.findall(r"#/components/schemas/(\w+)", json.dumps(self.document))), schemas)

    def test_answers(self) -> None:
        """Each operation has an answer for who shows no token, and one that is good."""
        for key, operation in self.operations().items():
            self.assertLessEqual({"200", "401", "403", "429"}, set(operation["responses"]), key)

    def test_levels(self) -> None:
        """The levels are those that there are."""
        [level] = self.operations()["POST", "/log-level"]["parameters"]
        self.assertEqual(level["schema"]["enum"], [*LEVELS])


class DashboardTests(SynchronousTestCase):
    def test_metrics(self) -> None:
        """The dashboard asks for metrics that there are, and shows every kind of them."""
        text = (ROOT / "docs/admin/grafana.json").read_text("utf-8")
        json.loads(text)
        document, _ = exposition(nothing(), Now(states={"up": 1}), "")
        there = set(re.findall(r"^# TYPE (\w+)", document.decode(), re.MULTILINE))
        asked = {name.removesuffix("_bucket") for name in re.findall(r"wsproxy_\w+", text)}
        self.assertEqual(asked - there, set())
        untold = {
            "wsproxy_build_info", "wsproxy_start_time_seconds", "wsproxy_draining", "wsproxy_opened_sessions_total",
        }  # fmt: skip
        self.assertEqual(there - asked, untold)
