"""Tests of L{wsproxy.wire}."""
