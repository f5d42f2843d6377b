"""A forked process that does one thing for `spotguard run`, and the link to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from spotguard.adapters.processes.own_processes import OwnProcesses, fork_child
from spotguard.adapters.telling.message_link import Message, MessageLink


@dataclass(frozen=True, slots=True)
class HelperProcess:
    pid: int
    link: MessageLink

    @classmethod
    def start(cls, work: Callable[[MessageLink], int], own: OwnProcesses, others: Iterable[HelperProcess]) -> Self:
        """Fork; in the child nothing of the parent's is left open, and its exit status is what `work` returns."""
        ours, theirs = MessageLink.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        links = [ours, *(other.link for other in others)]

        def in_child() -> None:
            own.close()
            for link in links:
                link.close()

        pid = fork_child(lambda: work(theirs), in_child=in_child)
        theirs.close()
        own.watch(ours)
        return cls(pid, ours)

    def messages(self) -> list[Message]:
        """What it has said since the last call."""
        return self.link.receive() or []

    def close(self, own: OwnProcesses) -> None:
        own.forget(self.link)
        self.link.close()
