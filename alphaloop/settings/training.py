"""Settings of training: `training.…`."""

from __future__ import annotations

from datetime import date

from pydantic import Field, field_validator

from alphaloop.settings.base import Section


class TrainingSettings(Section):
    """How models are tuned and judged."""

    horizon: int = Field(5, ge=1, description="bars from the obtainable fill to the end of the label")
    trials: int = Field(6, ge=0, description="Ray Tune trials per family; 0 takes the family's defaults")
    seed: int = 20180102
    first_test: str = Field(
        "",
        description="where walk-forward tests start: a share of the bars, as 0.5, or a day, as 2019-07-01; "
        "empty takes first_test_year",
    )
    first_test_year: int | None = Field(
        None,
        ge=1678,
        le=2261,
        description="calendar year in which walk-forward tests start; by default 2010, or half of the bars "
        "where these do not reach far enough to both sides of it",
    )
    folds: int = Field(4, ge=2, description="walk-forward folds")
    permutations: int = Field(
        1_000, ge=1_000, le=1_000_000, description="permutations of the names that an IC is held against"
    )
    max_pvalue: float = Field(
        0.01, gt=0, le=1, description="largest p-value of an IC among the permutations that passes the gate"
    )
    baseline_max_pvalue: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="the same, and the level of its t-statistic, for a first champion that learns nothing",
    )

    @field_validator("first_test", mode="before")
    @classmethod
    def _share_or_day(cls, given: object) -> object:
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
