"""Keras with its BackupAndRestore callback: two files, rewritten in place, with the save before them kept beside."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy
from telling import Run


class Teller(keras.callbacks.Callback):
    """Comes after BackupAndRestore, which saves at the end of each epoch and goes on at the beginning of all."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def on_train_begin(self, logs: Any = None) -> None:
        self._run.started(epochs_in(self.model), weights(self.model))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        files = [f"backup/{name}" for name in sorted(os.listdir(self._run.output / "backup"))]
        self._run.saved(epochs_in(self.model), "backup/latest", weights(self.model), members=files)


def epochs_in(model: keras.Model) -> int:
    return int(model.optimizer.iterations) // 8


def weights(model: keras.Model) -> dict[str, Any]:
    return {weight.path: numpy.asarray(weight) for weight in model.weights}


def main() -> None:
    run = Run()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((16,)), keras.layers.Dense(64), keras.layers.Dense(16)])
    model.compile("adam", "mse")
    batches = numpy.random.default_rng(1).normal(size=(64, 16))
    backup = keras.callbacks.BackupAndRestore(run.output / "backup", delete_checkpoint=False)
    model.fit(batches, batches, batch_size=8, epochs=run.steps, callbacks=[backup, Teller(run)], verbose=0, shuffle=False)
    run.ended(epochs_in(model), weights(model))


if __name__ == "__main__":
    main()
