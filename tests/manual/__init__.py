"""Tests of L{wsproxy.manual}."""
