"""Tests of L{wsproxy.authentication}."""
