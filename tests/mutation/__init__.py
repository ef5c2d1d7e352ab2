"""Whether the tests notice planted faults: docs/testing.rst."""
