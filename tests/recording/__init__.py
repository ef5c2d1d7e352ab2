"""Tests of L{wsproxy.recording}."""
