"""Tests of L{wsproxy.service}."""
