"""Tests of L{wsproxy.ends}."""
