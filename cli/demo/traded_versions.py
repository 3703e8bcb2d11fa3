"""Shares of sleeves of capital on which each version decided, bar by bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from alphaloop.forecasts import Forecast

Bar = tuple[str, Iterable[Forecast]]


def summarize_traded_versions(bars: Iterable[Bar], family_of: Callable[[str], str]) -> list[dict[str, Any]]:
    """Summarize for each version its first and last bar, its number of bars and its share of sleeves.

    `bars` are ISO times with the forecasts that were traded, one a sleeve. `share` is relative to all sleeves
    on all bars, `share_then` to the sleeves on the version's own bars. The version with the largest share
    comes first.
    """
    dates: dict[str, list[str]] = {}
    decided, there = Counter[str](), Counter[str]()
    for moment, forecasts in bars:
        sleeves = Counter(forecast.version for forecast in forecasts)
        decided.update(sleeves)
        for version in sleeves:
            dates.setdefault(version, []).append(moment)
            there[version] += sum(sleeves.values())
    total = sum(decided.values())
    return [
        {
            "version": version,
            "family": family_of(version),
            "first": dates[version][0],
            "last": dates[version][-1],
            "bars": len(dates[version]),
            "share": count / total,
            "share_then": count / there[version],
        }
        for version, count in decided.most_common()
    ]
