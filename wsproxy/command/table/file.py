"""The options about a file that has the others."""

from __future__ import annotations

from wsproxy.command.kinds import ON, PATTERN
from wsproxy.command.option import Option

__all__ = ["FILE_OPTIONS"]

FILE_OPTIONS = (
    Option(
        "config", "file.path", PATTERN,
        "Read options from this TOML file, too, under the same names, and routes. The command line wins. SIGHUP reads "
        "it again.",
    ),
    Option(
        "print-config", "inspection.settings", ON,
        "Print all settings, and where each comes from, as a file for --config, and exit. Secrets are not in it.",
    ),
)  # fmt: skip
