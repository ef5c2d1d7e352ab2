"""Tests of L{wsproxy.endpoints}."""
