"""Orbax's CheckpointManager: a folder per step, published by renaming the folder it was made in."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy
import orbax.checkpoint as ocp
from telling import Run


def main() -> None:
    run = Run()
    manager = ocp.CheckpointManager(run.output.absolute(), options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False))
    first, second = jax.random.split(jax.random.key(1))
    state = {"first": jax.random.normal(first, (16, 64)) / 8, "second": jax.random.normal(second, (64, 16)) / 8}
    step = 0
    if run.resume:
        step = manager.latest_step()
        state = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(state)))["state"]

    def loss(weights: dict[str, Any], batch: jax.Array) -> jax.Array:
        return jnp.mean((batch @ weights["first"] @ weights["second"] - batch) ** 2)

    def weights() -> dict[str, Any]:
        return {name: numpy.asarray(array) for name, array in state.items()}

    run.started(step, weights())
    while step < run.steps:
        gradients = jax.grad(loss)(state, jax.random.normal(jax.random.key(step), (8, 16)))
        state = jax.tree.map(lambda weight, gradient: weight - 0.1 * gradient, state, gradients)
        step += 1
        if run.is_save_step(step):
            items = ocp.args.Composite(state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave({"step": step}))
            manager.save(step, args=items)
            run.saved(step, str(step), weights())
    run.ended(step, weights())
    manager.close()


if __name__ == "__main__":
    main()
