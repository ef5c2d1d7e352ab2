"""Tests of L{wsproxy.plugins}."""
