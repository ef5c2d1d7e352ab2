"""C{python -m wsproxy.replay}"""

from __future__ import annotations

from wsproxy.replay.command import main

if __name__ == "__main__":
    main()
