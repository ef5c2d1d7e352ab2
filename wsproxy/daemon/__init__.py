"""How a process lives with its operating system: signals and exit status, log, clock, threads, pidfile."""
