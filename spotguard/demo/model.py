"""The demo's model: a line fitted by gradient descent, small enough for pure Python and exact enough to compare bit for bit.

Every step depends on all steps before it (momentum and the generator's state), so a run that goes on from the wrong step, or with
one file of another step, ends with other numbers than one that was never interrupted.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

WEIGHTS = 128
_RATE = 0.002
_MOMENTUM = 0.9


@dataclass(slots=True)
class TrainingState:
    """All that decides what the next step does."""

    step: int = 0
    weights: list[float] = field(default_factory=lambda: [0.0] * WEIGHTS)
    momentum: list[float] = field(default_factory=lambda: [0.0] * WEIGHTS)
    generator: random.Random = field(default_factory=lambda: random.Random(20))
    losses: list[float] = field(default_factory=list)

    def advance(self) -> float:
        """Take one step; returns its loss."""
        sample = [self.generator.uniform(-1.0, 1.0) for _ in range(WEIGHTS)]
        wanted = sum(value * (index % 7 - 3) for index, value in enumerate(sample))
        error = sum(value * weight for value, weight in zip(sample, self.weights, strict=True)) - wanted
        for index, value in enumerate(sample):
            self.momentum[index] = _MOMENTUM * self.momentum[index] - _RATE * error * value
            self.weights[index] += self.momentum[index]
        self.step += 1
        self.losses.append(error * error)
        return self.losses[-1]
