"""How a challenger earns capital, or loses it: the settings `rollout.…`."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, field_validator

from alphaloop.settings.base import Section

_SHARES = "shares of the sleeves, as [0.05, 0.25, 0.5]"


class RolloutSettings(Section):
    """How a challenger earns capital, or loses it."""

    shadow_bars: int = Field(5, ge=1)
    stage_bars: int = Field(10, ge=1, description="bars at each canary weight before the next")
    max_bars: int = Field(84, ge=10, description="after these a rollout without a verdict is undecided")
    weights: tuple[float, ...] = Field(
        (0.05, 0.25, 0.5), description="the challenger's share of the sleeves at each canary stage, rising"
    )
    false_rollback: float = Field(0.01, gt=0, lt=0.5)
    false_promotion: float = Field(0.05, gt=0, lt=0.5)
    hold_bars: int = Field(
        126, ge=0, description="longest wait at the first weight for the bars that the evidence needs"
    )
    non_inferiority_bps: float = Field(
        0.0,
        ge=0,
        description="net loss a bar that an undecided challenger may have and be promoted; 0: never",
    )
    ic_horizon: int = Field(
        1, ge=1, description="bars of the outcomes, not overlapping, that the IC looks at"
    )
    effect: float = Field(
        0.2,
        gt=0,
        description="difference a bar that matters, in its standard deviations; power is told for it",
    )
    max_latency_ms: float = Field(
        250.0, gt=0, description="p99 of a challenger's answers that ends a rollout"
    )
    max_staleness_seconds: float = Field(
        0.0, ge=0, description="age of a challenger's features at a bar that ends a rollout"
    )
    metrics_host: str = Field("127.0.0.1", min_length=1, description="address of metrics_port; 0.0.0.0: all")
    metrics_port: int = Field(0, ge=0, le=65535, description="metrics of the evidence while trading; 0: none")

    @field_validator("weights")
    @classmethod
    def _rising_shares(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if not weights:
            raise ValueError(f"give at least one share; {_SHARES}")
        if not all(0 < weight < 1 for weight in weights):
            raise ValueError(f"each share lies between 0 and 1; {_SHARES}")
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError(f"each share is larger than the one before; {_SHARES}")
        return weights
