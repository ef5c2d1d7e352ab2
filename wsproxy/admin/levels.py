"""How much is logged, in all processes that log."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import LogLevel

from wsproxy.cluster.parent import Answers

__all__ = ["LEVELS", "VERB", "Levels"]

LEVELS: tuple[str, ...] = tuple(level.name for level in LogLevel.iterconstants())
"""From the most to the least that is logged."""

VERB = "log.level"


class Levels:
    """
    @param changed: has this process log no less than this.
    @ivar level: what is logged at least.
    @ivar chosen: the same, where it was set; else it is what the settings say.
    """

    def __init__(self, level: str, changed: Callable[[str], object]) -> None:
        self.level = level
        self.chosen: str | None = None
        self._changed = changed
        self._answers: Answers | None = None

    def also(self, answers: Answers) -> Levels:
        """Workers hear of it, too, those included that start later. @return: this."""
        self._answers = answers
        answers.whenStarted(lambda worker: worker.tell(VERB, level=self.level))
        return self

    def set(self, level: str) -> None:
        """From now on, what is less than this is not logged."""
        self.level = self.chosen = level
        self._changed(level)
        if self._answers is not None:
            self._answers.tellAll(VERB, level=level)
