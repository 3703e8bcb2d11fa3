"""Prometheus metrics of a rollout and its evidence, collected from the controller's status.

A value that is not known yet is absent, never zero: a test that has not bet has no e-value. Labels hold the
model, its two versions, and names that are fixed here: layers, tests, states, outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from alphaloop.journal.store import Journal
from alphaloop.telemetry.prometheus import model_gauge, rollout_gauges
from rollouts.status import RolloutEvidence, RolloutStatus
from rollouts.transition import RolloutOutcome
from rollouts.transition_counts import TransitionCounter

NAMESPACE = "alphaloop_rollout"


class RolloutCollector:
    """Custom collector for `prometheus_client`; `status` returns the current status of the rollout."""

    def __init__(self, model: str, status: Callable[[], RolloutStatus | None], journal: Journal) -> None:
        self._model, self._status = model, status
        self._counter = TransitionCounter(model, journal)

    def collect(self) -> Iterator[Any]:
        """Yield all metric families."""
        status = self._status()
        if status is not None:
            yield from rollout_gauges(NAMESPACE, [status.document])
            yield self._single(
                "document_read_timestamp_seconds",
                "When the controller last read the rollout document.",
                status.read_at.timestamp(),
            )
            if status.evidence is not None:
                yield from self._progress(status.evidence)
                yield from self._measurements(status.evidence)
                yield from self._tests(status.evidence)
        yield from self._transitions()

    def _single(self, name: str, text: str, value: float) -> Any:
        family = model_gauge(f"{NAMESPACE}_{name}", text)
        family.add_metric((self._model,), value)
        return family

    def _progress(self, evidence: RolloutEvidence) -> Iterator[Any]:
        kind = model_gauge(f"{NAMESPACE}_kind", "1 for the kind of the rollout under way.", "kind")
        kind.add_metric((self._model, evidence.kind.value), 1.0)
        yield kind
        yield self._single(
            "last_bar_timestamp_seconds", "Close of the last bar in the evidence.", evidence.as_of.timestamp()
        )
        yield self._single("bars", "Bars since the rollout started.", evidence.bars)
        yield self._single(
            "past_bars",
            "Bars before the rollout on which the challenger was tested.",
            evidence.past_bars,
        )
        yield self._single("stage_bars", "Bars since this stage began.", evidence.stage_bars)
        yield self._single(
            "stage_remaining_bars",
            "Minimum number of bars left in this stage.",
            evidence.stage_bars_left,
        )
        yield self._single(
            "remaining_bars", "Bars after which the rollout ends without a verdict.", evidence.bars_left
        )

    def _measurements(self, evidence: RolloutEvidence) -> Iterator[Any]:
        yield self._single(
            "recomputation_difference",
            "Largest difference of logged scores from the registered model's.",
            evidence.recomputation,
        )
        yield self._single(
            "recomputation_tolerance",
            "Difference above which the challenger is rolled back.",
            evidence.tolerance,
        )
        yield self._single("failed_answers", "Answers of the challenger that failed.", evidence.failures)
        yield self._single("fault", "1 once a guard has found a fault of the challenger.", evidence.fault)

    def _tests(self, evidence: RolloutEvidence) -> Iterator[Any]:
        labels = ("layer", "test")
        value = model_gauge(f"{NAMESPACE}_e_value_log10", "Decimal logarithm of a test's e-value.", *labels)
        bound = model_gauge(
            f"{NAMESPACE}_e_value_threshold_log10",
            "Decimal logarithm of the e-value at which the test decides.",
            *labels,
        )
        bars = model_gauge(f"{NAMESPACE}_test_bars", "Bars on which a test has bet.", *labels)
        share = model_gauge(
            f"{NAMESPACE}_false_rollback_share_ratio",
            "Share of the probability of a false rollback that a layer may spend.",
            "layer",
        )
        for one in evidence.odds:
            where = (self._model, one.layer, one.test)
            bound.add_metric(where, one.bound)
            if one.bars:
                value.add_metric(where, one.log10_e)
                bars.add_metric(where, one.bars)
        for layer, part in evidence.shares:
            share.add_metric((self._model, layer), part)
        yield from (value, bound, bars, share)
        yield self._single(
            "false_rollback_probability_ratio",
            "Probability of a false rollback that all layers may spend.",
            evidence.false_rollback,
        )

    def _transitions(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily

        tally = self._counter.tally()
        steps = CounterMetricFamily(
            f"{NAMESPACE}_transitions",
            "Journaled transitions of the rollout document.",
            labels=("model", "from", "to", "layer", "outcome", "by"),
        )
        ended = CounterMetricFamily(
            f"{NAMESPACE}_ended", "Rollouts that have ended, by outcome.", labels=("model", "outcome")
        )
        for step, count in tally.steps.items():
            steps.add_metric((self._model, *step), count)
        for one in RolloutOutcome:
            count = sum(times for step, times in tally.steps.items() if step.outcome == one)
            ended.add_metric((self._model, one.value), count)
        yield from (steps, ended)
        if tally.newest is not None:
            yield self._single(
                "journaled_generation",
                "Generation of the newest journaled transition.",
                tally.newest.body["generation"],
            )
            yield self._single(
                "transition_timestamp_seconds",
                "When the newest transition was journaled.",
                tally.newest.at.timestamp(),
            )
            yield self._single(
                "lease_epoch", "Epoch of the lease under which it was journaled.", tally.newest.epoch
            )
