"""XGBoost with its TrainingCheckPoint callback: a model file every few rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import xgboost
from telling import Run


class Teller(xgboost.callback.TrainingCallback):
    """Comes after TrainingCheckPoint, so the file of this round is there."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._told = {path.name for path in models_in(run)}

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Any) -> bool:
        newest = models_in(self._run)[-1:]
        if newest and newest[0].name not in self._told:
            self._told.add(newest[0].name)
            self._run.saved(model.num_boosted_rounds(), newest[0].name, trees(model))
        return False


def models_in(run: Run) -> list[Path]:
    return sorted(run.output.glob("model_*.ubj"), key=lambda path: int(path.stem.removeprefix("model_")))


def trees(model: xgboost.Booster | None) -> dict[str, Any]:
    return {} if model is None else {"model": numpy.frombuffer(model.save_raw("json"), dtype=numpy.uint8)}


def main() -> None:
    run = Run()
    run.pause_before(xgboost.Booster, "save_model")
    generator = numpy.random.default_rng(1)
    features = generator.normal(size=(256, 8))
    data = xgboost.DMatrix(features, label=features @ numpy.arange(8))
    model = None
    if run.resume:
        model = xgboost.Booster(model_file=models_in(run)[-1])
    done = 0 if model is None else model.num_boosted_rounds()
    run.started(done, trees(model))
    checkpoints = xgboost.callback.TrainingCheckPoint(run.output, interval=run.save_every)
    parameters = {"max_depth": 3, "nthread": 1, "seed": 1}
    rounds = run.steps - done
    model = xgboost.train(parameters, data, rounds, xgb_model=model, callbacks=[checkpoints, Teller(run)], verbose_eval=False)
    run.ended(model.num_boosted_rounds(), trees(model))


if __name__ == "__main__":
    main()
