"""Operator actions on a rollout: status, metrics, start, promotion, abort and reconciliation."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import SystemClock
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.errors import AlphaloopError, MissingStateError, StaleFeaturesError
from alphaloop.journal.opening import open_journal
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import Override, RolloutDocument, RolloutKind
from alphaloop.runtime.stored_values import restore
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import require_share
from alphaloop.universe_hash import hash_universe
from features.feature_set import feature_set_of
from features.store.online_reader import OnlineReader
from marketdata.configured_source import newest_snapshot
from marketdata.storage.snapshots import SnapshotStore
from models.registry.card import Card
from models.registry.configured_registry import configured_registry, has_registry, registry_name
from models.registry.model_registry import Registry
from rollouts.controller import RolloutController
from rollouts.evidence.guards import Guards
from rollouts.evidence.score_parity import ScoreRecomputation
from rollouts.metrics import RolloutCollector
from rollouts.requests import RequestedAction, RequestQueue, RolloutRequest, act_or_ask
from rollouts.rollout_policy_settings import RolloutPolicy, make_rollout_policy
from rollouts.run import RolloutRun
from rollouts.transition import ROLLOUT_TRANSITION, Transition
from rollouts.validation.power import bars_to_find
from serving.log.prediction_log import PredictionLogReader, PredictionRow
from trading.strategy import configured_strategy

MIN_POWER = 0.8
"""Smallest power with which a rollout's longest duration counts as able to decide."""
MAX_ROLLOUT_BARS = 3_000


def make_controller(
    settings: Settings, model: str, journal: Journal, registry: Registry, role: RoleLease | None = None
) -> RolloutController:
    """Build the controller of `model` under the policies of the settings.

    Parameters
    ----------
    settings : Settings
        Sections `rollout`, `trading` and `paths`, and the feature set.
    model : str
        Name of the model on the registry.
    journal : Journal
        Journal to which transitions are written.
    registry : Registry
        Registry with the model's versions and its rollout document.
    role : RoleLease, optional
        The role `control/MODEL`, where the caller holds it for long; else each change takes it.

    Returns
    -------
    RolloutController
    """
    return RolloutController(
        model=model,
        registry=registry,
        journal=journal,
        recomputation=ScoreRecomputation(registry, feature_set_of(settings)),
        policy=make_rollout_policy(settings),
        strategy=configured_strategy(settings.trading),
        costs=CostModel.from_settings(settings.trading),
        limits=BookLimits.from_settings(settings.trading),
        guards=lambda: Guards(settings.rollout.max_latency_ms, settings.rollout.max_staleness_seconds),
        log=lambda since: logged_predictions(settings, model, since),
        role=role,
    )


def logged_predictions(settings: Settings, model: str, since: str | None) -> list[PredictionRow]:
    """Read the logged predictions by symbols for bars from `since` on.

    `since` is an ISO timestamp; None reads all.
    """
    moment = datetime.fromisoformat(since) if since else None
    folder = settings.locations.prediction_log
    return PredictionLogReader(folder, model, by_symbols=True, since=moment).new()


def rollout_status(settings: Settings, model: str) -> dict[str, Any]:
    """Summarize the rollout of `model` and its evidence as JSON-ready values.

    Parameters
    ----------
    settings : Settings
        Settings whose registry, journal, prediction log and snapshots are read.
    model : str
        Name of the model.

    Returns
    -------
    dict
        Document, transitions so far (`history`) and, while a rollout is under way, its evidence, the bound
        of each test (log10 e-values) and the outlook of its stage.

    Raises
    ------
    MissingStateError
        Where there is no registry, no champion or no snapshot of bars.
    """
    controller, journal = _open(settings, model)
    document = controller.document
    shown: dict[str, Any] = {
        "model": model,
        "champion": document.champion,
        "challenger": document.challenger,
        "state": document.state.value,
        "weight": document.weight,
        "generation": document.generation,
        "kind": document.kind.value,
        "override": asdict(document.override) if document.override else None,
        "started": document.started,
        "history": [
            {
                name: record.body[name]
                for name in ("version", "state", "weight", "outcome", "layer", "reason", "as_of")
            }
            for record in journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION)
            if record.body["model"] == model
        ],
    }
    if document.challenger is not None:
        rows = logged_predictions(settings, model, document.started)
        ledger = controller.rebuild(rows, _bars(settings))
        shown["evidence"] = ledger.summary()
        shown["bounds_log10_e"] = ledger.bounds()
        shown |= _outlook(controller.current_run(), document, make_rollout_policy(settings))
    return shown


def rollout_metrics(settings: Settings, model: str) -> RolloutCollector:
    """Build the Prometheus collector of a rollout, from the same evidence as its status.

    Parameters
    ----------
    settings : Settings
        Settings whose registry, journal, prediction log and snapshots are read.
    model : str
        Name of the model.

    Returns
    -------
    RolloutCollector

    Raises
    ------
    MissingStateError
        Where there is no registry, no champion or no snapshot of bars.
    """
    controller, journal = _open(settings, model)
    if controller.document.challenger is not None:
        rows = logged_predictions(settings, model, controller.document.started)
        controller.rebuild(rows, _bars(settings))
    return RolloutCollector(model, lambda: controller.status, journal)


def _outlook(run: RolloutRun, document: RolloutDocument, policy: RolloutPolicy) -> dict[str, Any]:
    """Describe the rest of the stage, its reasons to wait and each test's distance from deciding."""
    stage, needed, ledger = run.stage(document), run.needs, run.ledger
    bounds, evidence = ledger.bounds(), ledger.summary()
    deciding = {name: name if name.endswith("_better") else f"{name}_worse" for name in ("ic", "pnl")}
    names = {**{name: name for name in bounds}, **deciding}
    return {
        "stage": {
            "bars": stage.bars,
            "bars_in_stage": stage.stage_bars,
            "bars_left_at_least": stage.bars_left(policy),
            "bars_left_at_most": max(policy.max_bars - stage.bars, 0),
            "next_weight": stage.next_weight(policy),
            "waits_for": _waits(run, stage.hold),
            "bars_to_tell_no_skill": needed.no_skill,
            "bars_to_clear_turnover": needed.turnover,
        },
        "ends_when": {
            name: {"log10_e": evidence[f"{names[name]}_log10_e"], "bound": bound}
            for name, bound in bounds.items()
        },
        "power": rollout_power(policy),
    }


def _waits(run: RolloutRun, hold: int) -> list[str]:
    bars, cleared, needed = run.ledger.bars, run.cleared, run.needs
    if hold <= bars:
        return []
    words = []
    alone = dict.fromkeys(cleared, True) | {"no_skill": False}
    if not cleared["no_skill"] and needed.hold(alone) > bars:
        words.append(
            f"the live IC to tell the card's promise from no skill, {needed.no_skill} bars or once it shows"
        )
    if not cleared["turnover"] and needed.turnover is not None:
        words.append(f"turnover to be cleared of five times the card's, usually {needed.turnover} bars")
    if not cleared["inverted_ranks"] and needed.inverted_ranks:
        words.append("ranks to be cleared of being turned round against the champion's")
    return words


def rollout_power(policy: RolloutPolicy) -> dict[str, float]:
    """Compute the power of the longest duration against a challenger worse by the effect of interest.

    Parameters
    ----------
    policy : RolloutPolicy
        Gives the longest duration, the error budget and the effect (in standard deviations a bar).

    Returns
    -------
    dict of str to float
        `effect`, `bars`, `power` in [0, 1], and `bars_for_80_percent` (infinite beyond 3,000 bars).
    """
    alpha = policy.rollback_alpha("pnl")
    needed = bars_to_find(policy.effect, alpha, MAX_ROLLOUT_BARS)
    return {
        "effect": policy.effect,
        "bars": policy.max_bars,
        "power": float((needed <= policy.max_bars).mean()),
        "bars_for_80_percent": float(np.quantile(needed, MIN_POWER, method="higher")),
    }


def power_warning(settings: Settings) -> str:
    """Explain why a rollout of the settings' duration may not decide.

    Returns an empty text where it can.
    """
    policy = make_rollout_policy(settings)
    stages = policy.shadow_bars + policy.stage_bars * (len(policy.weights) - 1)
    if stages >= policy.max_bars:
        return (
            f"the stages before the last weight take {stages:,} bars and the longest duration is "
            f"{policy.max_bars:,}, so that nothing is ever promoted; raise rollout.max_bars, or lower "
            "rollout.shadow_bars or rollout.stage_bars"
        )
    study = rollout_power(policy)
    if study["power"] >= MIN_POWER:
        return ""
    needed = study["bars_for_80_percent"]
    enough = f"{needed:,.0f} bars" if math.isfinite(needed) else f"more than {MAX_ROLLOUT_BARS:,} bars"
    return (
        f"{study['bars']:.0f} bars find a challenger that is worse by {study['effect']:g} standard "
        f"deviations a bar in {study['power']:.0%} of rollouts; {MIN_POWER:.0%} takes {enough} "
        "(rollout.max_bars, rollout.effect)"
    )


def has_champion(settings: Settings, model: str) -> bool:
    """Return True once a version of `model` is champion."""
    registry = open_rollout_registry(settings)
    return model in registry.models() and registry.rollout(model) is not None


def open_rollout_registry(settings: Settings) -> Registry:
    """Open the registry of the settings' home; raises `MissingStateError` before the first training."""
    if not has_registry(settings):
        raise MissingStateError(
            f"no registry in {registry_name(settings)}; `alphaloop train momentum` makes one"
        )
    return configured_registry(settings)


def start_rollout(
    settings: Settings,
    model: str,
    version: str,
    *,
    override: Override | None = None,
    kind: RolloutKind = RolloutKind.REAL,
    share: float = 0.0,
    against: str | None = None,
    by: str = "operator",
    wait: bool = True,
) -> RolloutDocument | None:
    """Start a rollout of `version` from the last known bar on: in shadow, or compared at `share`.

    Parameters
    ----------
    settings : Settings
        Settings whose registry, journal and snapshots are used.
    model, version : str
        Model and the version to roll out.
    override : Override, optional
        Needed for a version that its gate refused.
    kind : RolloutKind
        `AB` for a comparison at a fixed share.
    share : float
        Share of the sleeves in (0, 1), for a comparison only.
    against : str, optional
        Version to compare with; the champion by default.
    by : str
        Operator, named in a request to a running control.
    wait : bool
        Whether to wait for a running control to start it.

    Returns
    -------
    RolloutDocument or None
        The stored document; None where the request was left to a running control.

    Raises
    ------
    InputError
        For a share that covers no sleeve or all, or for a version that may not start.
    RolloutConflictError
        While another rollout is under way.
    FeatureSetMismatchError
        Where the scores of either version could not be recomputed.
    MissingStateError
        Where there is no registry, champion or snapshot.
    """
    if 0 < share < 1:
        require_share(share, settings.trading.sleeves, "--share")
    request = RolloutRequest(
        model, RequestedAction.START, by, "", version, kind, share, against or None, override
    )
    journal = _act_or_ask(settings, request, wait=wait)
    return None if journal is None else journal.documents.read(model)


def features_warning(settings: Settings, document: RolloutDocument) -> str:
    """Name the versions of a rollout whose features are not in the online store.

    Returns an empty text if there is none.
    """
    registry = configured_registry(settings)
    versions = [one for one in (document.champion, document.challenger) if one is not None]
    try:
        symbols, reader = _bars(settings).symbols, OnlineReader.from_settings(settings)
        warnings = [_unwritten(reader, symbols, registry.card(document.model, one), one) for one in versions]
    except AlphaloopError as error:
        # The rollout has begun, so a check that cannot be made is no reason to fail.
        return f"whether the features of each version are written cannot be told: {error}"
    return "; ".join(filter(None, warnings))


def _unwritten(reader: OnlineReader, symbols: tuple[str, ...], card: Card, version: str) -> str:
    feature_key = (card.feature_set, hash_universe(card.universe))
    try:
        newest = max((one.bar for one in reader.stored(symbols).values()), default=None)
        if newest is None:
            return ""
        stored = reader.read(symbols, newest, 1, *feature_key)
    except (MissingStateError, StaleFeaturesError):
        # Nothing is online yet.
        return ""
    if stored.made_of(*feature_key):
        return ""
    return (
        f"the features that version {version} was trained on are not written to the online store yet: a "
        "running alphaloop trade does so from its next bar on, and without one alphaloop features materialize"
    )


def promote_challenger(
    settings: Settings, model: str, reason: str, by: str, *, wait: bool = True
) -> Transition | None:
    """Make the challenger champion by hand.

    Parameters
    ----------
    settings : Settings
        Settings whose registry, journal, prediction log and snapshots are used.
    model : str
        Name of the model.
    reason, by : str
        Reason and operator, for the journal.
    wait : bool
        Whether to wait for a running control to do it.

    Returns
    -------
    Transition or None
        The journaled step, with the evidence so far; None where the request was left to a running control.

    Raises
    ------
    MissingStateError
        Where no rollout is under way.
    RolloutConflictError
        Where another controller changed the document meanwhile.
    """
    return _end(settings, RolloutRequest(model, RequestedAction.PROMOTE, by, reason), wait=wait)


def abort_rollout(
    settings: Settings, model: str, reason: str, by: str, *, wait: bool = True
) -> Transition | None:
    """Roll the challenger back by hand.

    Parameters
    ----------
    settings : Settings
        Settings whose registry, journal, prediction log and snapshots are used.
    model : str
        Name of the model.
    reason, by : str
        Reason and operator, for the journal.
    wait : bool
        Whether to wait for a running control to do it.

    Returns
    -------
    Transition or None
        The journaled step, with the evidence so far; None where the request was left to a running control.

    Raises
    ------
    MissingStateError
        Where no rollout is under way.
    RolloutConflictError
        Where another controller changed the document meanwhile.
    """
    return _end(settings, RolloutRequest(model, RequestedAction.ABORT, by, reason), wait=wait)


def reconcile_rollout(settings: Settings, model: str) -> list[Transition]:
    """Finish the work of a dead controller: journal its published steps and make its due decisions.

    Returns the steps that were taken.
    """
    controller, _ = _open(settings, model)
    rows = logged_predictions(settings, model, controller.document.started)
    return controller.catch_up(rows, _bars(settings))


def _end(settings: Settings, request: RolloutRequest, *, wait: bool) -> Transition | None:
    journal = _act_or_ask(settings, request, wait=wait)
    if journal is None:
        return None
    steps = journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION)
    *_, last = (record for record in steps if record.body["model"] == request.model)
    return restore(Transition, last.body)


def _act_or_ask(settings: Settings, request: RolloutRequest, *, wait: bool) -> Journal | None:
    """Act on `request`, or ask a running control; returns the journal where it was done."""
    registry, model = open_rollout_registry(settings), request.model
    journal = open_journal(settings, SystemClock())

    def act(role: RoleLease, own: RolloutRequest | None) -> None:
        controller = make_controller(settings, model, journal, registry, role)
        if controller.document.challenger is not None:
            # The transition is to carry the evidence so far.
            rows = logged_predictions(settings, model, controller.document.started)
            controller.rebuild(rows, _bars(settings))
        if own is None:
            RequestQueue(journal, controller, role).take_up(_last_bar(settings))
        else:
            own.act(controller, _last_bar(settings))

    return journal if act_or_ask(journal, request, act, wait=wait) else None


def _open(settings: Settings, model: str) -> tuple[RolloutController, Journal]:
    registry = open_rollout_registry(settings)
    journal = open_journal(settings, SystemClock())
    return make_controller(settings, model, journal, registry), journal


def _bars(settings: Settings) -> BarPanel:
    latest = newest_snapshot(settings)
    if latest is None:
        raise MissingStateError(
            f"no snapshot of '{settings.data.source}' in {settings.locations.snapshots}; "
            "`alphaloop features build` makes one"
        )
    return BarPanel.from_table(SnapshotStore(settings.locations.snapshots).load(latest.id))


def _last_bar(settings: Settings) -> datetime:
    return to_datetime(_bars(settings).timestamps[-1])
