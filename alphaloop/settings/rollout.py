"""Settings of rollouts: `rollout.…`, how a challenger earns capital or loses it."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, field_validator

from alphaloop.settings.base import Section

_SHARES = "shares of the sleeves, as [0.05, 0.25, 0.5]"


class RolloutSettings(Section):
    """Stages, error rates and limits by which a challenger is promoted or rolled back."""

    shadow_bars: int = Field(
        5,
        ge=1,
        description="bars at which the challenger is scored without capital, before the first canary stage",
    )
    stage_bars: int = Field(10, ge=1, description="bars at each canary weight before the next")
    max_bars: int = Field(
        84, ge=10, description="bars after which a rollout without a verdict ends as undecided"
    )
    weights: tuple[float, ...] = Field(
        (0.05, 0.25, 0.5), description="the challenger's share of the sleeves at each canary stage, rising"
    )
    false_rollback: float = Field(
        0.01, gt=0, lt=0.5, description="largest probability of rolling back a challenger that is not worse"
    )
    false_promotion: float = Field(
        0.05, gt=0, lt=0.5, description="largest probability of promoting a challenger that is not better"
    )
    hold_bars: int = Field(
        126,
        ge=0,
        description="largest number of bars to stay at the first weight until the evidence has enough bars",
    )
    non_inferiority_bps: float = Field(
        0.0,
        ge=0,
        description="net loss per bar, in basis points, up to which an undecided challenger is "
        "promoted; 0: never",
    )
    ic_horizon: int = Field(
        1, ge=1, description="bars over which the IC's outcomes are measured, without overlap"
    )
    effect: float = Field(
        0.2,
        gt=0,
        description="difference per bar, in its standard deviations, for which the power of the tests"
        " is stated",
    )
    max_latency_ms: float = Field(
        250.0,
        gt=0,
        description="99th percentile of the challenger's response time, in milliseconds, above which "
        "the rollout ends",
    )
    max_staleness_seconds: float = Field(
        0.0,
        ge=0,
        description="age of the challenger's features at a bar, in seconds, above which the rollout ends",
    )
    evidence_wait: float = Field(
        2.0,
        ge=0,
        le=3_600,
        description="seconds for which the rows of a bar are awaited in the prediction log; a version that"
        " left none by then is scored again by control",
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="address of the evidence metrics; 0.0.0.0: all addresses"
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="port of the evidence metrics while trading; 0: none"
    )

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
