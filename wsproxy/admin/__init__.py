"""The admin side: what operators see of a proxy that runs, and do to it."""
