"""Tuning: parameters by Ray Tune and Optuna, on the training part alone. The only door to Ray Tune."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphaloop.errors import VendorError
from alphaloop.runtime.processes import QUIET
from models.dataset import Dataset
from models.evaluation import splits
from models.evaluation.information_coefficient import information_coefficients
from models.evaluation.walk_forward import score
from models.family import Choice, Domain, Family, IntRange, LogUniform, Parameters, Uniform

OBJECT_STORE_BYTES = 150 * 1024**2
TIME_LIMIT_SECONDS = 900
METRIC = "ic"

SHORT_FOLDER = "/tmp"  # noqa: S108 — a private folder is made in it
"""Where Ray's files go: the path of a Unix socket ends after 107 characters."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The parameters found, their mean IC on the validation part (NaN without trials), and the trials."""

    parameters: dict[str, Any]
    score: float
    trials: int


def tune(
    family: Family,
    dataset: Dataset,
    trials: int,
    seed: int,
    storage: Path,
    *,
    on_progress: Callable[[str], None] | None = None,
) -> Tuned:
    """The best of `trials` sets of parameters on the last part of the dataset's rows.

    Everything after `dataset.rows` is cut off first. Trials run one after the other, because what
    Optuna suggests next depends on what came back: so the same seed finds the same parameters. The
    first trial is the family's defaults. Without trials, or without a search space, no Ray is
    started. Uses the Ray of this process if there is one, else starts one and stops it. Raises
    `VendorError` where a trial fails.
    """
    defaults = family.default_parameters()
    if trials == 0 or not family.search_space():
        return Tuned(defaults, math.nan, 0)
    storage = storage.resolve()
    storage.mkdir(parents=True, exist_ok=True)
    with _local_ray():
        best, found = _search(family, _until(dataset), trials, seed, storage, on_progress)
    return Tuned(defaults | best, found, trials)


def validation_ic(family: Family, dataset: Dataset, parameters: Parameters, seed: int) -> float:
    """Mean IC on the last part of the dataset's rows of a model fitted on the purged first part."""
    fold = splits.validation(dataset.rows, dataset.horizon)
    fitted = family.fit(dataset.only(fold.train), parameters, seed)
    scores = score(family, fitted, dataset.frame, fold.test)
    labels = dataset.labels[fold.test.start : fold.test.stop]
    coefficients = information_coefficients(scores, labels)
    finite = coefficients[np.isfinite(coefficients)]
    return float(finite.mean()) if len(finite) else -1.0


def _until(dataset: Dataset) -> Dataset:
    """The dataset without the bars after its rows: a trial cannot see what it is not sent."""
    stop = dataset.rows.stop
    frame = replace(
        dataset.frame, timestamps=dataset.frame.timestamps[:stop], values=dataset.frame.values[:stop]
    )
    return replace(dataset, frame=frame, labels=dataset.labels[:stop])


def _search(
    family: Family,
    dataset: Dataset,
    trials: int,
    seed: int,
    storage: Path,
    on_progress: Callable[[str], None] | None,
) -> tuple[dict[str, Any], float]:
    import optuna
    from ray import tune as ray_tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = family.search_space()
    defaults = {name: value for name, value in family.default_parameters().items() if name in space}
    trainable = ray_tune.with_parameters(_trial, family=family, dataset=dataset, seed=seed)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trainable, {"cpu": 0.5}),
        param_space={name: _domain(domain) for name, domain in space.items()},
        tune_config=ray_tune.TuneConfig(
            metric=METRIC,
            mode="max",
            num_samples=trials,
            max_concurrent_trials=1,
            # A worker that has loaded the training library is kept for the next trial.
            reuse_actors=True,
            search_alg=OptunaSearch(seed=seed, points_to_evaluate=[defaults]),
            time_budget_s=TIME_LIMIT_SECONDS,
        ),
        run_config=ray_tune.RunConfig(
            name=Path(tempfile.mkdtemp(prefix=f"{family.name}-", dir=storage)).name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[_reporter(on_progress, trials)] if on_progress is not None else None,
        ),
    )
    return _best(tuner, family, trials)


def _best(tuner: Any, family: Family, trials: int) -> tuple[dict[str, Any], float]:
    from ray.exceptions import RayError
    from ray.tune import TuneError

    try:
        results = tuner.fit()
    except (TuneError, RayError) as error:
        raise VendorError(f"Ray Tune failed on family '{family.name}': {error}") from error
    if results.errors:
        cause = str(results.errors[0]).strip().splitlines()[-1]
        raise VendorError(
            f"{len(results.errors)} of {trials} trials of family '{family.name}' failed: {cause}"
        )
    finished = [result for result in results if result.metrics and METRIC in result.metrics]
    if len(finished) < trials:
        raise VendorError(
            f"only {len(finished)} of {trials} trials of family '{family.name}' ended within "
            f"{TIME_LIMIT_SECONDS} s; give Ray free CPUs, or ask for fewer trials"
        )
    best = max(finished, key=lambda result: float(result.metrics[METRIC]))
    return dict(best.config), float(best.metrics[METRIC])


def _trial(config: dict[str, Any], family: Family, dataset: Dataset, seed: int) -> None:
    """One trial, in a worker of Ray."""
    from ray import tune as ray_tune

    ray_tune.report({METRIC: validation_ic(family, dataset, family.default_parameters() | config, seed)})


def _reporter(on_progress: Callable[[str], None], trials: int) -> Any:
    from ray.tune import Callback

    class Reporter(Callback):
        """Tells of each finished trial."""

        def __init__(self) -> None:
            self.finished = 0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.finished += 1
            value = trial.last_result.get(METRIC, math.nan)
            on_progress(f"trial {self.finished} of {total}: validation IC {value:.4f}")

        def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
            # Tune stores its callbacks with the search; whom to tell is this process's business alone.
            return Callback, ()

    total = trials
    return Reporter()


def _domain(domain: Domain) -> Any:
    from ray import tune as ray_tune

    match domain:
        case Choice(options):
            return ray_tune.choice(list(options))
        case Uniform(low, high):
            return ray_tune.uniform(low, high)
        case LogUniform(low, high):
            return ray_tune.loguniform(low, high)
        case IntRange(low, high):
            return ray_tune.randint(low, high + 1)


@contextmanager
def _local_ray() -> Iterator[None]:
    """The Ray of this process, or one of our own that is gone afterwards with all its files."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # Ray's own default for a new cluster, said outright so that it need not warn of it.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    # Tune would turn Ctrl-C into an early, successful end.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    # Its loggers write files that nobody reads, and one of them imports TensorBoard for two seconds.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import ray

    if ray.is_initialized():
        yield
        return
    folder = tempfile.mkdtemp(prefix="al-ray-", dir=SHORT_FOLDER)
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
