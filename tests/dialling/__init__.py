"""Tests of L{wsproxy.dialling}."""
