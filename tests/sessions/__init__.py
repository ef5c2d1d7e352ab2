"""Tests of L{wsproxy.sessions}."""
