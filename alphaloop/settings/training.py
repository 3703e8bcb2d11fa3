"""Settings of training: `training.…`."""

from __future__ import annotations

from datetime import date

from pydantic import Field, field_validator

from alphaloop.settings.base import Section


class TrainingSettings(Section):
    """Label, tuning, walk-forward folds and gate thresholds of training."""

    horizon: int = Field(5, ge=1, description="bars from the obtainable fill to the end of the label")
    trials: int = Field(
        6, ge=0, description="Ray Tune trials per family; 0 uses the family's default parameters"
    )
    seed: int = Field(20180102, description="seed of every random number in training")
    first_test: str = Field(
        "",
        description="start of the walk-forward tests: a share of the bars, as 0.5, or a day, as "
        "2019-07-01; empty uses first_test_year",
    )
    first_test_year: int | None = Field(
        None,
        ge=1678,
        le=2261,
        description="calendar year in which the walk-forward tests start; by default 2010, or half of"
        " the bars where too few lie before or after it",
    )
    folds: int = Field(4, ge=2, description="number of walk-forward folds")
    permutations: int = Field(
        1_000, ge=1_000, le=1_000_000, description="permutations of the symbols with which the IC is compared"
    )
    max_pvalue: float = Field(
        0.01, gt=0, le=1, description="largest p-value of the IC in the permutation test that passes the gate"
    )
    baseline_max_pvalue: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="the same for a first champion that learns nothing; also the level of its IC's "
        "t-statistic",
    )

    @field_validator("first_test", mode="before")
    @classmethod
    def _share_or_day(cls, given: object) -> object:
        """Accept a share of the bars, or a day as ISO text."""
        text = str(given).strip() if isinstance(given, (int, float, date)) else given
        if not isinstance(text, str) or not text:
            return text
        try:
            share = float(text)
        except ValueError:
            return _day_of_test(text)
        if not 0 < share < 1:
            raise ValueError(f"'{text}' is no share between 0 and 1, and no day as 2019-07-01")
        return text


def _day_of_test(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"'{text}' is no share of the bars, as 0.5, and no day, as 2019-07-01") from None
