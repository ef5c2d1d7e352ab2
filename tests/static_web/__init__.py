"""Tests of L{wsproxy.static_web}."""
