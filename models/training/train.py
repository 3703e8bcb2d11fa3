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
from alphaloop.decision.strategy import Strategy, StrategyIdentity
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
class _Origin:
    """The origin of a model, for its card."""

    model: str
    snapshot: str
    pipeline_run: str | None
    seed: int
    created_at: str
    strategy: Mapping[str, Any]


def train(
    family_name: str,
    bars: BarPanel,
    frame: FeatureFrame,
    snapshot: str,
    registry: Registry,
    settings: Settings,
    *,
    model: str,
    trials: int,
    strategy: Strategy,
    clock: Clock,
    pipeline_run: str | None = None,
    leak: int = 0,
    champion: Card | None = None,
    parameters: Parameters | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> TrainedModel:
    """Train a model and register it, whether or not it passes the gate.

    Parameters
    ----------
    family_name : str
        Model family.
    bars : BarPanel
        Bars to train on.
    frame : FeatureFrame
        Features of the same bars, float32 `[timestamps, symbols, features]`.
    snapshot : str
        Identifier of the data, for the card.
    registry : Registry
        Registry in which the version is stored.
    settings : Settings
        Settings; `training`, `trading` and `features` are used.
    model : str
        Name under which the version is registered.
    trials : int
        Number of tuning trials; with `parameters`, the number of attempts among which they were chosen.
    strategy : Strategy
        The strategy that will trade the scores; it is judged with the model and named on the card.
    clock : Clock
        Source of the time on the card.
    pipeline_run : str, optional
        Pipeline run, for the card.
    leak : int
        Bars by which features leak the future, for a drill (`models.training.leakage_drill`).
    champion : Card, optional
        Card of the champion to beat.
    parameters : mapping of str to object, optional
        Parameters that replace the family's defaults and are not tuned.
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
    family = families.find_family(family_name)
    _require_fit(family, bars, frame, settings)
    seen = leak_features(frame, leak)
    policy = EvaluationPolicy.from_settings(settings, strategy)
    report, traded = on_progress or _silent, StrategyIdentity.of(strategy).to_body()
    dataset = make_dataset(seen, bars.adjusted_close, policy.horizon)
    tuned = _tune(family, dataset, trials, policy, settings, parameters, report)
    evaluation = walk_forward(
        family, tuned.parameters, seen, bars.adjusted_close, policy, trials=tuned.trials, on_progress=report
    )
    report("fitting on every bar")
    fitted = family.fit(dataset, tuned.parameters, policy.seed)
    report("exporting to ONNX and comparing")
    exported = export_onnx(fitted)
    panels = complete_panels(seen, family.lookback, COMPARED_BARS)
    faithful = check_fidelity(
        fitted,
        exported.onnx,
        panels,
        bars=panel_bars(seen, family.lookback, COMPARED_BARS),
        family=family,
        strategy=strategy,
        gross=policy.limits.max_gross,
    )
    first_baseline = champion is None and is_baseline(family) and tuned.trials == 0
    policy_of = GatePolicy.for_baseline if first_baseline else GatePolicy.from_settings
    demands = policy_of(settings.training)
    report("checking that no feature looks ahead")
    proof = check_look_ahead(bars, seen, settings, range(len(bars) - evaluation.bars, len(bars)))
    verdict = gate.judge(evaluation, faithful, champion, demands, proof=proof)
    origin = _Origin(model, snapshot, pipeline_run, policy.seed, clock.now().isoformat(), traded)
    card = _card(
        origin,
        family,
        dataset,
        tuned.parameters,
        evaluation=evaluation,
        exported=exported,
        faithful=faithful,
        verdict=verdict,
        agreed=rank_agreement(evaluation.scores, frame, champion, registry) if champion else None,
    )
    report("registering")
    return TrainedModel(registry.register(model, exported.onnx, card), card, evaluation)


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
    family: Family,
    dataset: Dataset,
    trials: int,
    policy: EvaluationPolicy,
    settings: Settings,
    parameters: Parameters | None,
    report: Callable[[str], None],
) -> TuningResult:
    """Tune parameters on the bars before the first test.

    So no test influences the choice.
    """
    completed = complete_parameters(family, parameters)
    if parameters is not None:
        return TuningResult(completed, float("nan"), trials)
    first = policy.walk_forward(dataset.frame.timestamps)[0]
    if trials and family.search_space():
        report(f"tuning: {trials} trials")
    return tune(
        family, dataset.only(first.train), trials, policy.seed, settings.paths.tuning, on_progress=report
    )


def _card(
    origin: _Origin,
    family: Family,
    dataset: Dataset,
    parameters: Parameters,
    *,
    evaluation: Evaluation,
    exported: ExportedModel,
    faithful: Fidelity,
    verdict: GateResult,
    agreed: Mapping[str, Any] | None,
) -> Card:
    first, last = _learned(dataset, family.lookback)
    return Card(
        model=origin.model,
        family=family.name,
        parameters=dict(parameters),
        feature_set=dataset.frame.feature_set,
        features=dataset.frame.names,
        inputs=(INPUT_NAME,),
        lookback=family.lookback,
        horizon=dataset.horizon,
        score_kind=family.score_kind,
        cross_sectional=family.cross_sectional,
        snapshot=origin.snapshot,
        train_first=first,
        train_last=last,
        pipeline_run=origin.pipeline_run,
        code_revision=code_revision(),
        seed=origin.seed,
        walk_forward=evaluation.folds,
        metrics=evaluation.metrics(),
        ranges={**evaluation.ranges, **({"agreement": agreed} if agreed else {})},
        fidelity=faithful.to_dict(),
        gate=verdict.to_dict(),
        digest=exported.digest,
        created_at=origin.created_at,
        universe=dataset.frame.symbols,
        definition=dataset.frame.definition,
        strategy=origin.strategy,
    )


def _learned(dataset: Dataset, lookback: int) -> tuple[str, str]:
    """Return the ISO timestamps of the first and last bar that the model learned from."""
    bars = np.arange(dataset.rows.start, dataset.rows.stop)
    usable = complete_windows(dataset.frame.values, bars, lookback) & np.isfinite(dataset.labels[bars])
    learned = bars[usable.any(axis=1)]
    timestamps = dataset.frame.timestamps[learned[[0, -1]]]
    return to_datetime(timestamps[0]).isoformat(), to_datetime(timestamps[1]).isoformat()
