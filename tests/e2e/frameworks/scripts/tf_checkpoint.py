"""TensorFlow's CheckpointManager: an index and data files per save, and `checkpoint`, which names the newest."""

from __future__ import annotations

import os
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf
from telling import Run
from tensorflow.python.checkpoint import checkpoint_management


class Model(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = tf.random.Generator.from_seed(1)
        self.first = tf.Variable(generator.normal((16, 64)) / 8)
        self.second = tf.Variable(generator.normal((64, 16)) / 8)

    def __call__(self, batch: tf.Tensor) -> tf.Tensor:
        return batch @ self.first @ self.second


def main() -> None:
    run = Run()
    run.pause_before(checkpoint_management, "update_checkpoint_state_internal")  # all else is written by C++
    model, step = Model(), tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model, step=step), str(run.output), max_to_keep=5)
    if run.resume:
        assert manager.restore_or_initialize(), "TensorFlow found nothing to load"

    def weights() -> dict[str, Any]:
        return {"first": model.first.numpy(), "second": model.second.numpy()}

    run.started(int(step), weights())
    while int(step) < run.steps:
        batch = tf.random.Generator.from_seed(int(step) + 2).normal((8, 16))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(batch) - batch) ** 2)
        for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
            weight.assign_sub(0.1 * gradient)
        step.assign_add(1)
        if run.is_save_step(int(step)):
            prefix = os.path.relpath(manager.save(checkpoint_number=int(step)), run.output)
            members = [path.name for path in run.output.glob(f"{prefix}.*")]
            run.saved(int(step), prefix, weights(), members=members)
    run.ended(int(step), weights())


if __name__ == "__main__":
    main()
