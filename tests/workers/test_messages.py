"""What parent and workers say to each other."""

from __future__ import annotations

import json
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.config import Config, ListeningConfig, ProgramConfig, TLSConfig, asPlain, fromPlain
from wsproxy.workers import messages
from wsproxy.workers.messages import Answer, Message, MessageError, Messages

values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
said = st.builds(
    Message,
    verb=st.text(),
    fields=st.dictionaries(st.text(), values, max_size=3),
    ask=st.none() | st.integers(0),
    descriptors=st.lists(st.integers(0, 99), max_size=3).map(tuple),
)
numbers = st.integers(0)
answered = st.builds(Answer, to=numbers, answer=values, error=st.none()) | st.builds(
    Answer, to=numbers, answer=st.none(), error=st.text()
)


class MessageTests(SynchronousTestCase):
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(said | answered, max_size=5), st.integers(1, 99))
    def test_anySplit(self, sent: list[Message | Answer], size: int) -> None:
        """Messages arrive as they were sent, with their descriptors, however their bytes were split."""
        data = b""
        descriptors: dict[int, list[int]] = defaultdict(list)  # by the piece with the first byte of their message
        for message in sent:
            descriptors[len(data) // size] += getattr(message, "descriptors", ())
            data += message.encode()
        reader = Messages()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        found = [each for number, piece in enumerate(pieces) for each in reader.feed(piece, descriptors[number])]
        self.assertEqual(found, sent)
        self.assertEqual(reader.descriptors, [])

    def test_early(self) -> None:
        """Descriptors may come before their message, with the bytes of others, and in one piece."""
        reader = Messages()
        first, second = Message("a", {}, None, (7,)), Message("b", {}, 1, (8, 9))
        self.assertEqual(list(reader.feed(Message("c", {}).encode(), [7, 8, 9])), [Message("c", {})])
        self.assertEqual(list(reader.feed(first.encode() + second.encode())), [first, second])

    def test_late(self) -> None:
        """A message whose descriptors have not come, for want of room, is none; those that have are left."""
        reader = Messages()
        self.assertRaises(MessageError, list, reader.feed(Message("a", {}, None, (7, 8)).encode(), [7]))
        self.assertEqual(reader.descriptors, [7])

    def test_anyFileName(self) -> None:
        """The name of a file that is no text arrives, too."""
        name = b"/\xff\n".decode("utf-8", "surrogateescape")
        [found] = Messages().feed(Message("verb", {"name": name}).encode())
        self.assertEqual(found, Message("verb", {"name": name}))

    def test_nonsense(self) -> None:
        """What is no message is said to be none, whatever it is."""
        answers = (b'{"to": []}', b'{"to": Infinity}')
        for line in (b"", b"{", b"[]", b"7", b'"to"', b"{}", b'{"verb": "x"}', b"\xff", b"null", *answers):
            self.assertRaises(MessageError, list, Messages().feed(line + b"\n"))
        for count in (-1, "x", None, []):
            line = json.dumps({"verb": "x", "fields": {}, "descriptors": count}).encode()
            self.assertRaises(MessageError, list, Messages().feed(line + b"\n"))

    def test_longest(self) -> None:
        """A message has a longest length, however it arrives, and though it does not end."""
        line = Message("verb", {"text": "x" * 60}).encode()
        for size in (1, 7, 200):
            pieces = [line[at : at + size] for at in range(0, len(line), size)]
            found = Messages(longest=len(line) - 1)
            self.assertEqual(len([each for piece in pieces for each in found.feed(piece)]), 1)
            short = Messages(longest=len(line) - 9)
            with self.assertRaises(MessageError):
                for piece in pieces[:-1] or pieces:
                    list(short.feed(piece))

    def test_tooLong(self) -> None:
        """Nor is a longer one sent."""
        self.patch(messages, "LONGEST", 100)
        self.assertRaises(MessageError, Message("verb", {"text": "x" * 100}).encode)


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
