"""C{python -m wsproxy}."""

from wsproxy.command.wsproxy import main

main()
