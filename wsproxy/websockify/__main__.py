"""C{python -m wsproxy.websockify}."""

from wsproxy.websockify.command import main

main()
