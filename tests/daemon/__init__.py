"""Tests of L{wsproxy.daemon}."""
