"""Tuning by Ray Tune and Optuna, on the training part alone.

This is the only module that imports Ray Tune.
"""

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
from alphaloop.runtime.processes import QUIET_ENVIRONMENT
from alphaloop.statistics.information_coefficient import information_coefficients
from models.dataset import Dataset
from models.evaluation import splits
from models.evaluation.walk_forward import score_bars
from models.family import Choice, Domain, Family, IntRange, LogUniform, Parameters, Uniform

OBJECT_STORE_BYTES = 150 * 1024**2
"""Memory of the object store of a local Ray."""
TIME_LIMIT_SECONDS = 900
"""Time allowed for all trials of a tuning."""
METRIC = "ic"
"""Name of the metric that Ray Tune maximises."""

RAY_FOLDER = "/tmp"  # noqa: S108 — a private folder is made in it
"""Folder of Ray's files.

It is short because the path of a Unix socket ends after 107 characters.
"""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """The result of a tuning.

    Parameters
    ----------
    parameters : dict of str to object
        Best parameters.
    score : float
        Their mean IC on the validation part; NaN without trials.
    trials : int
        Number of trials.
    """

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
) -> TuningResult:
    """Search the best of `trials` sets of parameters.

    They are compared on the last part of the dataset's rows; everything after `dataset.rows` is removed
    first. Trials run one after the other, because Optuna's next suggestion depends on the earlier results: so
    the same seed finds the same parameters. The first trial uses the family's defaults. Ray is not started
    without trials or without a search space. An existing Ray of this process is used; otherwise one is
    started and stopped.

    Parameters
    ----------
    family : Family
        Model family.
    dataset : Dataset
        Features and labels, with the rows to tune on.
    trials : int
        Number of parameter sets to try.
    seed : int
        Seed of the search and of every fit.
    storage : Path
        Folder of Ray Tune's results.
    on_progress : callable, optional
        Called with a line of text after each trial.

    Returns
    -------
    TuningResult
        Best parameters, completed by the family's defaults.

    Raises
    ------
    VendorError
        Where a trial fails, or not all trials end in time.
    """
    defaults = family.default_parameters()
    if trials == 0 or not family.search_space():
        return TuningResult(defaults, math.nan, 0)
    storage = storage.resolve()
    storage.mkdir(parents=True, exist_ok=True)
    with _local_ray():
        best, best_ic = _search(family, _until(dataset), trials, seed, storage, on_progress)
    return TuningResult(defaults | best, best_ic, trials)


def validation_ic(family: Family, dataset: Dataset, parameters: Parameters, seed: int) -> float:
    """Return the mean IC on a validation part after a purged fit.

    The validation part is the last part of the dataset's rows; the fit is on the bars before it.
    """
    fold = splits.validation_fold(dataset.rows, dataset.horizon)
    fitted = family.fit(dataset.only(fold.train), parameters, seed)
    scores = score_bars(family, fitted, dataset.frame, fold.test)
    labels = dataset.labels[fold.test.start : fold.test.stop]
    coefficients = information_coefficients(scores, labels)
    finite = coefficients[np.isfinite(coefficients)]
    return float(finite.mean()) if len(finite) else -1.0


def _until(dataset: Dataset) -> Dataset:
    """Remove the bars after the dataset's rows, so that no trial can see them."""
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
            # The next trial uses the same worker, which has loaded the training library already.
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
    """Run one trial in a worker of Ray."""
    from ray import tune as ray_tune

    ray_tune.report({METRIC: validation_ic(family, dataset, family.default_parameters() | config, seed)})


def _reporter(on_progress: Callable[[str], None], trials: int) -> Any:
    from ray.tune import Callback

    class Reporter(Callback):
        """A callback that reports each finished trial."""

        def __init__(self) -> None:
            self.finished = 0

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.finished += 1
            value = trial.last_result.get(METRIC, math.nan)
            on_progress(f"trial {self.finished} of {total}: validation IC {value:.4f}")

        def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
            # Tune stores its callbacks with the search, but `on_progress` only exists in this process.
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
    """Use the Ray of this process, or start a temporary one.

    A temporary Ray is removed afterwards with all its files.
    """
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Ray's own default for a new cluster, set explicitly because Ray warns otherwise.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    # Tune would turn Ctrl-C into an early, successful end.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    # Tune's loggers write files that nobody reads, and one of them imports TensorBoard for two seconds.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import ray

    if ray.is_initialized():
        yield
        return
    folder = tempfile.mkdtemp(prefix="al-ray-", dir=RAY_FOLDER)
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
