"""Configuration of the demo's scenario: universe, years and durations; tests run a shorter one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from alphaloop.settings.settings import Settings

SCENARIO_FILE = "plot.json"
"""File of a run's configuration, under its home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioConfig:
    """Configuration of a scenario: symbols, years and durations.

    `live_from` and `live_to` are ISO dates; training uses all bars up to `live_from`. `simulated_bars` is the
    length of the live part of the simulated universe.
    """

    title: str = "2019–2020, day by day"
    symbols: tuple[str, ...] = ()
    live_from: str = "2018-12-31"
    live_to: str = "2020-12-31"
    trials: int = 6
    folds: int = 4
    simulated_bars: int = 560
    simulated_training_bars: int = 900
    rollout: dict[str, int] | None = None
    retrain_labels: int | None = None

    @property
    def go_live(self) -> datetime:
        """Last moment of the training data."""
        return _end_of_day(self.live_from)

    @property
    def end(self) -> datetime:
        """Last moment of the replay."""
        return _end_of_day(self.live_to)

    def settings(self, base: Settings) -> dict[str, Any]:
        """Return the sections of `base` that this configuration changes."""
        changed: dict[str, Any] = {
            "data": base.data.model_copy(update={"symbols": self.symbols or base.data.symbols}),
            "training": base.training.model_copy(update={"trials": self.trials, "folds": self.folds}),
        }
        if self.rollout:
            changed["rollout"] = base.rollout.model_copy(update=self.rollout)
        if self.retrain_labels:
            changed["retrain"] = base.retrain.model_copy(update={"matured_labels": self.retrain_labels})
        return changed

    def to_json(self) -> str:
        """Serialize the configuration."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ScenarioConfig:
        """Parse the text that `to_json` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"symbols": tuple(fields["symbols"])})


def _end_of_day(date: str) -> datetime:
    return datetime.fromisoformat(date).replace(hour=23, minute=59, tzinfo=UTC)
