"""One book in every command: the settings' limits hold, and what they keep from being filled is told."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import SettingsError
from alphaloop.settings.settings import Settings, load_settings
from alphaloop.settings.trading import TradingSettings
from cli.commands import backtest, data, trade
from cli.notices import book_notices, format_refusals
from marketdata.sources.registry import find_source
from trading.engine import BarOutcome
from trading.risk.risk_check import Refusal
from trading.strategy import configured_strategy


def panel(close: np.ndarray) -> BarPanel:
    """Daily closes."""
    nothing = np.full(close.shape, np.nan)
    return BarPanel(
        timestamps=np.datetime64("2020-01-02T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D"),
        symbols=tuple(f"S{index}" for index in range(close.shape[1])),
        open=nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones(close.shape),
    )


def traded(close: np.ndarray, **given: Any) -> dict[str, Any]:
    """What `alphaloop backtest` tells of scores that are all alike."""
    settings = Settings(trading=TradingSettings(**given))
    strategy = configured_strategy(settings.trading)
    return backtest._trade(settings, strategy, panel(close), np.zeros(close.shape), 0)


def test_a_backtest_obeys_the_limits_of_the_settings() -> None:
    """A cap of 5 % for each of four names leaves 80 % in cash, and a gross of a half leaves half."""
    close = np.full((40, 4), 100.0)
    capped, half = traded(close, max_weight=0.05), traded(close, max_gross=0.5)
    assert capped["cash"] == pytest.approx((1 + 39 * 0.8) / 40, abs=1e-3)
    assert half["cash"] == pytest.approx((1 + 39 * 0.5) / 40, abs=1e-3)
    assert capped["refused"] == {"max_weight": capped["refusals"]}


def test_a_backtest_obeys_the_drawdown_of_the_settings() -> None:
    """A loss of 10 % makes a book that allows 5 % reduce-only, and one that allows 20 % not."""
    close = np.full((40, 4), 100.0)
    close[20:] = 90.0
    assert traded(close, max_drawdown=0.05)["refused"] == {"drawdown": 20}
    assert traded(close, max_drawdown=0.2)["refused"] == {}


def test_a_book_of_six_names_is_filled_by_default() -> None:
    """Without a limit of the user's six names hold all of the capital and nothing is refused."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (60, 6)), axis=0))
    told = traded(close, commission_bps=0, half_spread_bps=0)
    assert (told["refused"], told["cash"] < 0.03) == ({}, True)


def test_what_a_cap_keeps_in_cash_is_told_with_the_figure_that_fills_the_book() -> None:
    """A cap that the user set is kept: one line says what it leaves in cash, and what would fill it."""
    source = find_source("us-tech-ohlcv")
    (line,) = book_notices(Settings(trading=TradingSettings(max_weight=0.15)), source, 6)
    assert "6 names at 0.15 each" in line
    assert "trading.max_weight = 0.1667 would fill it" in line
    assert book_notices(Settings(), source, 6) == []


def test_a_source_of_adjusted_prices_is_told() -> None:
    """Of adjusted prices it is said that splits and dividends are in them; of prices as traded nothing."""
    (line,) = book_notices(Settings(), find_source("sp500-20"), 20)
    assert line.startswith(
        "source 'sp500-20' has adjusted prices only: splits and dividends are in the prices"
    )


@pytest.mark.parametrize(
    ("price", "shown"), [(1.23456789e-7, 1.23457e-7), (0.5, 0.5), (123.456789, 123.4568), (None, None)]
)
def test_a_tiny_price_is_shown_with_its_digits(price: float | None, shown: float | None) -> None:
    """`data show` tells a price of a ten-millionth by six digits, and not as 0."""
    assert data._rounded(price) == shown


def _turn(equity: str, refusals: tuple[Refusal, ...] = ()) -> SimpleNamespace:
    moment = datetime(2020, 1, 2, 21, tzinfo=UTC)
    outcome = BarOutcome(moment, Decimal(equity), (), (), {}, refusals, "trading/1")
    return SimpleNamespace(as_of=moment, outcome=outcome)


def test_a_session_of_one_bar_has_its_return() -> None:
    """From 1,000 before its only bar to 1,100 after it a session earned 10 %."""
    loop: Any = SimpleNamespace(turns=[_turn("1100")], forecaster=SimpleNamespace(latencies_ms=[], errors=0))
    assert trade._summary(loop, Decimal(1000))["net_return"] == pytest.approx(0.1)


def test_refusals_are_listed_by_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """What a session refused is counted by rule, the most frequent first."""
    cap, stale = Refusal("max_weight", "too much", ("a",), "S0"), Refusal("staleness", "old", ("a",))
    loop: Any = SimpleNamespace(
        turns=[_turn("1000", (stale, cap)), _turn("1000", (cap,))],
        forecaster=SimpleNamespace(latencies_ms=[], errors=0),
    )
    told = trade._summary(loop, Decimal(1000))
    assert (told["refusals"], told["refused"]) == (3, {"max_weight": 2, "staleness": 1})
    trade._show({**told, "notices": []})
    assert "3 (max_weight 2, staleness 1)" in capsys.readouterr().out
    assert format_refusals({}) == "0"


@pytest.mark.parametrize("bps", ["10000", "15000"])
def test_costs_of_all_that_is_traded_are_refused_when_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, bps: str
) -> None:
    """A command with a half spread of 100 % ends in one line, before anything is read."""
    monkeypatch.setenv("ALPHALOOP_TRADING__HALF_SPREAD_BPS", bps)
    with pytest.raises(SettingsError, match=r"below 10,000 basis points") as caught:
        load_settings()
    assert "\n" not in str(caught.value)
