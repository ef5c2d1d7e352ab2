"""Tests of L{wsproxy.workers}."""
