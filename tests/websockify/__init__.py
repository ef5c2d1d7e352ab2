"""Tests of L{wsproxy.websockify}."""
