"""Tests of L{wsproxy.tls}."""
