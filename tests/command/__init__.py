"""Tests of L{wsproxy.command}."""
