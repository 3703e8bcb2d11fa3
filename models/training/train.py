"""Training: from bars and features to a registered model version, in one call.

The steps are: tune, evaluate by walk-forward, fit on everything, export, compare, judge, register. A refused
model is registered too, with its refusal on the card, because every trial is part of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import Clock
from alphaloop.decision.strategy import StrategyIdentity
from alphaloop.errors import DataError, InputError
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame
from models.dataset import Dataset, complete_panels, complete_windows, make_dataset, panel_bars
from models.evaluation import gate
from models.evaluation.gate import GatePolicy, GateResult
from models.evaluation.look_ahead import check_look_ahead
from models.evaluation.rank_agreement import rank_agreement
from models.evaluation.walk_forward import Evaluation, EvaluationPolicy, walk_forward
from models.family import Family, Parameters, complete_parameters, is_baseline
from models.onnx.export import ExportedModel, Fidelity, check_fidelity, export_onnx
from models.onnx.onnx_graph import INPUT_NAME
from models.registry.card import Card
from models.registry.model_registry import Registry
from models.training.code_revision import code_revision
from models.training.leakage_drill import leak_features
from models.training.training_run import TrainingRun
from models.training.tuning import TuningResult, tune
from models.zoo import registry as families

COMPARED_BARS = 256
"""Bars on which the ONNX file is compared with the model."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The result of a training.

    Parameters
    ----------
    version : str
        Number of the registered version.
    card : Card
        Its card.
    evaluation : Evaluation
        Its walk-forward evaluation.
    """

    version: str
    card: Card
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A fitted and evaluated model that has not been judged yet."""

    family: Family
    dataset: Dataset
    parameters: Parameters
    tuned_trials: int
    evaluation: Evaluation
    exported: ExportedModel
    faithful: Fidelity


def train(
    run: TrainingRun,
    registry: Registry,
    settings: Settings,
    clock: Clock,
    on_progress: Callable[[str], None] | None = None,
) -> TrainedModel:
    """Train a model and register it, whether or not it passes the gate.

    Parameters
    ----------
    run : TrainingRun
        Family, data, strategy and origin of the model.
    registry : Registry
        Registry in which the version is stored.
    settings : Settings
        Settings; `training`, `trading` and `features` are used.
    clock : Clock
        Source of the time on the card.
    on_progress : callable, optional
        Called with a line of text at each step.

    Returns
    -------
    TrainedModel
        Version, card and evaluation.

    Raises
    ------
    UnknownNameError
        For a family or parameter that does not exist.
    DataError
        Where bars and features do not match, or are too few for the folds.
    InputError
        Where the family looks back further than `features.window`.
    StrategyError
        Where the strategy fails on any bar of the tests.
    VendorError
        Where tuning or the registry fails.
    """
    report = on_progress or _silent
    policy = EvaluationPolicy.from_settings(settings, run.strategy)
    candidate = _fit(run, policy, settings, report)
    report("checking that no feature looks ahead")
    verdict = _judge(run, candidate, settings)
    scores, champion = candidate.evaluation.scores, run.champion
    agreed = rank_agreement(scores, run.frame, champion, registry) if champion else None
    card = _card(run, candidate, verdict, agreed, seed=policy.seed, created_at=clock.now().isoformat())
    report("registering")
    version = registry.register(run.model, candidate.exported.onnx, card)
    return TrainedModel(version, card, candidate.evaluation)


def _fit(
    run: TrainingRun, policy: EvaluationPolicy, settings: Settings, report: Callable[[str], None]
) -> _Candidate:
    """Tune, evaluate by walk-forward, fit on everything, export and compare."""
    family = families.find_family(run.family)
    _require_fit(family, run.bars, run.frame, settings)
    close, strategy = run.bars.adjusted_close, run.strategy
    dataset = make_dataset(leak_features(run.frame, run.leak), close, policy.horizon)
    tuned = _tune(run, family, dataset, policy, settings, report)
    evaluation = walk_forward(
        family, tuned.parameters, dataset.frame, close, policy, trials=tuned.trials, on_progress=report
    )
    report("fitting on every bar")
    fitted = family.fit(dataset, tuned.parameters, policy.seed)
    report("exporting to ONNX and comparing")
    exported = export_onnx(fitted)
    faithful = check_fidelity(
        fitted,
        exported.onnx,
        complete_panels(dataset.frame, family.lookback, COMPARED_BARS),
        bars=panel_bars(dataset.frame, family.lookback, COMPARED_BARS),
        family=family,
        strategy=strategy,
        gross=policy.limits.max_gross,
    )
    return _Candidate(family, dataset, tuned.parameters, tuned.trials, evaluation, exported, faithful)


def _judge(run: TrainingRun, candidate: _Candidate, settings: Settings) -> GateResult:
    """Check that no feature looks ahead, and ask the gate.

    A first champion may be a baseline that was not tuned; less is then asked of it.
    """
    evaluation, champion = candidate.evaluation, run.champion
    first_baseline = champion is None and is_baseline(candidate.family) and candidate.tuned_trials == 0
    policy_of = GatePolicy.for_baseline if first_baseline else GatePolicy.from_settings
    tested = range(len(run.bars) - evaluation.bars, len(run.bars))
    proof = check_look_ahead(run.bars, candidate.dataset.frame, settings, tested)
    return gate.judge(evaluation, candidate.faithful, champion, policy_of(settings.training), proof=proof)


def _silent(_: str) -> None:
    """Ignore a progress message."""


def _require_fit(family: Family, bars: BarPanel, frame: FeatureFrame, settings: Settings) -> None:
    if bars.symbols != frame.symbols or not np.array_equal(bars.timestamps, frame.timestamps):
        raise DataError(
            f"bars ({len(bars.timestamps)} × {len(bars.symbols)}) and features ({len(frame.timestamps)} × "
            f"{len(frame.symbols)}) are not of the same timestamps and symbols; build the features anew"
        )
    if family.lookback > settings.features.window:
        raise InputError(
            f"family '{family.name}' looks back {family.lookback} rows, but features.window keeps "
            f"{settings.features.window} online; set it to {family.lookback} or more"
        )


def _tune(
    run: TrainingRun,
    family: Family,
    dataset: Dataset,
    policy: EvaluationPolicy,
    settings: Settings,
    report: Callable[[str], None],
) -> TuningResult:
    """Tune parameters on the bars before the first test.

    So no test influences the choice.
    """
    completed = complete_parameters(family, run.parameters)
    if run.parameters is not None:
        return TuningResult(completed, float("nan"), run.trials)
    first = policy.walk_forward(dataset.frame.timestamps)[0]
    if run.trials and family.search_space():
        report(f"tuning: {run.trials} trials")
    return tune(
        family, dataset.only(first.train), run.trials, policy.seed, settings.paths.tuning, on_progress=report
    )


def _card(
    run: TrainingRun,
    candidate: _Candidate,
    verdict: GateResult,
    agreed: Mapping[str, Any] | None,
    *,
    seed: int,
    created_at: str,
) -> Card:
    family, dataset, evaluation = candidate.family, candidate.dataset, candidate.evaluation
    first, last = _learned(dataset, family.lookback)
    return Card(
        model=run.model,
        family=family.name,
        parameters=dict(candidate.parameters),
        feature_set=dataset.frame.feature_set,
        features=dataset.frame.names,
        inputs=(INPUT_NAME,),
        lookback=family.lookback,
        horizon=dataset.horizon,
        score_kind=family.score_kind,
        cross_sectional=family.cross_sectional,
        snapshot=run.snapshot,
        train_first=first,
        train_last=last,
        pipeline_run=run.pipeline_run,
        code_revision=code_revision(),
        seed=seed,
        walk_forward=evaluation.folds,
        metrics=evaluation.metrics(),
        ranges={**evaluation.ranges, **({"agreement": agreed} if agreed else {})},
        fidelity=candidate.faithful.to_dict(),
        gate=verdict.to_dict(),
        digest=candidate.exported.digest,
        created_at=created_at,
        universe=dataset.frame.symbols,
        definition=dataset.frame.definition,
        strategy=StrategyIdentity.of(run.strategy).to_body(),
    )


def _learned(dataset: Dataset, lookback: int) -> tuple[str, str]:
    """Return the ISO timestamps of the first and last bar that the model learned from."""
    bars = np.arange(dataset.rows.start, dataset.rows.stop)
    usable = complete_windows(dataset.frame.values, bars, lookback) & np.isfinite(dataset.labels[bars])
    learned = bars[usable.any(axis=1)]
    timestamps = dataset.frame.timestamps[learned[[0, -1]]]
    return to_datetime(timestamps[0]).isoformat(), to_datetime(timestamps[1]).isoformat()
