"""Recordings after the fact: playing, describing, exporting and repairing them. C{python -m wsproxy.replay}."""
