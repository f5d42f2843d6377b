"""Messages between the processes of one command."""

from __future__ import annotations

from spotguard.adapters.telling.message_link import MessageLink


def test_a_message_that_is_too_long_harms_neither_the_reader_nor_those_after_it() -> None:
    one, other = MessageLink.pair()
    one.send({"left": [["checkpoint-1", "missing: " + "model-of-many.safetensors, " * 10_000]]})
    one.send({"saved": "checkpoint-0"})
    assert other.receive() == [{"saved": "checkpoint-0"}]
    one.close()
    assert other.receive() is None
    other.close()
