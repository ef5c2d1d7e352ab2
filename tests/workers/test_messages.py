"""What parent and workers say to each other."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.config import Config, ListeningConfig, ProgramConfig, TLSConfig, asPlain, fromPlain
from wsproxy.workers.messages import Messages, encode

words = st.lists(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()), max_size=4)


class MessageTests(SynchronousTestCase):
    @given(st.lists(words, max_size=5), st.integers(1, 9))
    def test_anySplit(self, messages: list[list[object]], size: int) -> None:
        """Messages arrive as they were sent, however their bytes were split."""
        data = b"".join(encode("verb", *message) for message in messages)
        reader = Messages()
        found = [each for at in range(0, len(data), size) for each in reader.feed(data[at : at + size])]
        self.assertEqual(found, [["verb", *message] for message in messages])

    def test_anyFileName(self) -> None:
        """The name of a file that is no text arrives, too."""
        name = b"/\xff\n".decode("utf-8", "surrogateescape")
        self.assertEqual(list(Messages().feed(encode("verb", name))), [["verb", name]])


class ConfigTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A worker has the very settings that its parent has."""
        for config in (
            Config(),
            Config(
                listening=ListeningConfig(("6080", "unix:/x"), workers=2),
                program=ProgramConfig(("sh", "-c")),
                tls=TLSConfig("/c", password="p"),
            ),
        ):
            self.assertEqual(fromPlain(json.loads(json.dumps(asPlain(config)))), config)
