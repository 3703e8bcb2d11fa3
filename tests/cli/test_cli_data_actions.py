"""`data.actions` and `data.series`: raw bars adjusted, and columns attached, as known at each bar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.decision.returns import bar_returns, forward_returns
from alphaloop.settings.settings import load_settings
from cli import main
from loop import workspace
from marketdata.configured_source import chosen_identity
from trading.backtest import run_backtest

DAYS = [str(day) for day in np.arange("2019-01-02", "2019-07-01", dtype="datetime64[D]") if np.is_busday(day)]
SPLIT, PAID, LAST = "2019-03-01", "2019-04-01", "2019-05-31"
ACTIONS = [
    f"KO,split,{SPLIT},2019-02-01T12:00:00Z,4",
    f"KO,cash_dividend,{PAID},2019-03-15T12:00:00Z,0.5",
    "GONE,delisting,2019-06-03,2019-05-20T12:00:00Z,-0.3",
]
HEAD = "symbol,kind,ex_date,published,value"


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Raw bars of three stocks: KO splits four for one and pays, GONE is delisted, PEP goes on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", f"folder:{tmp_path / 'bars'}?calendar=24/7")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", '["return_1", "return_5"]')
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    random = np.random.default_rng(2)
    lines = ["symbol,date,open,high,low,close,volume"]
    for name in ("GONE", "KO", "PEP"):
        close = 80.0 * np.exp(np.cumsum(random.normal(0.0, 0.004, len(DAYS))))
        for day, price in zip(DAYS, close.tolist(), strict=True):
            traded = price / 4 if name == "KO" and day >= SPLIT else price
            if name != "GONE" or day <= LAST:
                volume = 1000 + int(random.integers(100))
                lines.append(f"{name},{day},{traded:.4f},{traded:.4f},{traded:.4f},{traded:.4f},{volume}")
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "bars.csv").write_text("\n".join(lines) + "\n")
    write(tmp_path, *ACTIONS)
    return tmp_path


def write(folder: Path, *rows: str, head: str = HEAD, name: str = "actions.csv") -> None:
    """A file of records."""
    (folder / name).write_text("\n".join((head, *rows)) + "\n")


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run the command; returns its output and its errors."""
    found = main.run_command(list(arguments))
    printed = capsys.readouterr()
    assert found == code, printed.err
    return printed.out, printed.err


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name the file of actions."""
    monkeypatch.setenv("ALPHALOOP_DATA__ACTIONS", "actions.csv")


def test_a_split_is_an_error_until_it_is_recorded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw bars with an unrecorded split are refused; with the file of actions they are stored."""
    found = json.loads(run(capsys, "data", "check", "--json", code=2)[0])["findings"]
    assert ("split", "KO") in [(one["rule"], one["symbol"]) for one in found]
    monkeypatch.setenv("ALPHALOOP_DATA__ACTIONS", "actions.csv")
    shown = json.loads(run(capsys, "data", "check", "--json")[0])
    assert set(shown["records"]) == {"actions"}
    run(capsys, "features", "build")
    snapshot, bars = workspace.latest_bars(load_settings())
    assert set(snapshot.records) == {"actions"}
    column = bars.symbols.index("KO")
    factors = bars.adjustment[:, column]
    assert factors[_row(bars, SPLIT) - 1] == 1.0
    assert factors[_row(bars, SPLIT)] == 4.0
    assert 4.0 < factors[_row(bars, PAID)] < 4.2
    assert np.abs(bar_returns(bars.adjusted_close)[1:, column]).max() < 0.05


@pytest.mark.usefixtures("chosen")
def test_a_holder_gets_units_money_and_the_proceeds(capsys: pytest.CaptureFixture[str]) -> None:
    """A book of the three follows split and dividend, and is paid 70 % of the last price of GONE."""
    run(capsys, "features", "build")
    bars = workspace.latest_bars(load_settings())[1]
    scores = np.zeros(bars.close.shape)
    equity = run_backtest(bars, scores).equity
    assert np.abs(np.diff(np.log(equity[: _row(bars, LAST)]))).max() < 0.02
    fall = equity[_row(bars, "2019-06-03")] / equity[_row(bars, LAST)] - 1
    assert -0.12 < fall < -0.08
    assert bars.extra["member"][_row(bars, "2019-06-03"), 0] == 0.0
    # The last labels of GONE have the loss in them, and are not missing.
    label = forward_returns(bars.adjusted_close, 5)[_row(bars, LAST) - 2, 0]
    assert -0.35 < label < -0.25


def _row(bars: BarPanel, day: str) -> int:
    """The bar that closes as `day` ends: a day round the clock closes at the next midnight."""
    days = (bars.timestamps - np.timedelta64(1, "us")).astype("datetime64[D]").astype(str).tolist()
    return int(days.index(day))


@pytest.mark.usefixtures("chosen")
def test_actions_are_shown_as_known_at_a_day(capsys: pytest.CaptureFixture[str], desk: Path) -> None:
    """Each with the moment from which it counts; a late one counts from its publication on."""
    write(desk, *ACTIONS, "PEP,cash_dividend,2019-03-01,2019-04-10T12:00:00Z,0.25")
    shown = json.loads(run(capsys, "data", "actions", "--as-of", "2019-02-15", "--json")[0])
    assert [row["kind"] for row in shown["actions"]] == ["split"]
    (paid,) = json.loads(run(capsys, "data", "actions", "--symbols", "PEP", "--json")[0])["actions"]
    assert (paid["late"], paid["counts_from"]) == (True, "2019-04-10T12:00:00+00:00")
    assert "4 actions, 1 of them published late" in run(capsys, "data", "actions")[0]


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            ["KO,splitt,2019-03-01,2019-02-01T12:00:00Z,4"],
            "actions.csv: row 1, 'kind' is 'splitt'; known: split",
        ),
        (
            ["KO,split,2019-03-01,2019-02-01,4"],
            "actions.csv: row 1, 'published' is '2019-02-01'; give a moment",
        ),
        (["KO,split,2019-03-01,2019-02-01T12:00:00Z,-4"], "value is -4.0; it must be above 0"),
        (
            [*ACTIONS, f"KO,split,{SPLIT},2019-02-02T12:00:00Z,5"],
            "leave one out, or give both one identifier",
        ),
        (
            ["KO,cash_dividend,2019-04-01,2019-03-15T12:00:00Z,900"],
            "data.actions: cash_dividend of KO on 2019-04-01: 900.0 USD a share is not below",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], desk: Path, rows: list[str], says: str
) -> None:
    """The line names file or action, value and way out."""
    write(desk, *rows)
    error = run(capsys, "data", "check", code=2)[1]
    assert says in error
    assert error.count("\n") == 1


def test_actions_are_refused_beside_providers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Providers bring the actions of their bars; without a file there is nothing to show."""
    assert "data.actions names no file" in run(capsys, "data", "actions", code=2)[1]
    monkeypatch.setenv("ALPHALOOP_DATA__ACTIONS", "actions.csv")
    monkeypatch.setenv("ALPHALOOP_DATA__PROVIDERS", '["ccxt:binance"]')
    assert "data.providers bring the corporate actions" in run(capsys, "data", "actions", code=2)[1]


@pytest.fixture
def releases(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series that is revised, and one of a single symbol."""
    monkeypatch.setenv("ALPHALOOP_DATA__ACTIONS", "actions.csv")
    monkeypatch.setenv("ALPHALOOP_DATA__SERIES", "releases.csv")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", '["data.cpi", "surprise = data.cpi - lag(data.cpi, 1)"]')
    write(
        desk,
        "cpi,,2019-01-01T12:00:00Z,2018-12-01,1.0",
        "cpi,,2019-02-01T12:00:00Z,2019-01-01,2.0",
        "cpi,,2019-03-01T12:00:00Z,2019-01-01,2.5",
        "pe,KO,2019-01-01T12:00:00Z,,20",
        head="series,symbol,published,effective,value",
        name="releases.csv",
    )


@pytest.mark.usefixtures("releases")
def test_series_are_columns_as_they_were_published(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar has the value known at its close, a revision counts from its publication, age is limited."""
    run(capsys, "features", "build")
    bars = workspace.latest_bars(load_settings())[1]
    values = bars.extra["cpi"][:, bars.symbols.index("PEP")]
    assert [values[_row(bars, day)] for day in ("2019-01-31", "2019-02-01", "2019-02-28", "2019-03-01")] == [
        1.0, 2.0, 2.0, 2.5,
    ]  # fmt: skip
    assert np.isnan(bars.extra["pe"][:, bars.symbols.index("PEP")]).all()
    before = chosen_identity(load_settings())
    monkeypatch.setenv("ALPHALOOP_DATA__SERIES_MAX_AGE_DAYS", "40")
    assert chosen_identity(load_settings()) != before
    run(capsys, "features", "build")
    aged = workspace.latest_bars(load_settings())[1].extra["cpi"][:, bars.symbols.index("PEP")]
    assert np.isnan(aged[_row(bars, "2019-05-02")])
    assert aged[_row(bars, "2019-03-29")] == 2.5


@pytest.mark.usefixtures("releases")
@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("cpi,,yesterday,,1.0", "releases.csv, 'published': row 1: 'yesterday' is no moment"),
        ("close,,2019-01-01T12:00:00Z,,1.0", "releases.csv: the series 'close' is called like a column"),
        ("cpi,,2019-01-01T12:00:00Z,,much", "releases.csv, 'value': row 1"),
    ],
)
def test_a_bad_series_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], desk: Path, row: str, says: str
) -> None:
    """The line names file, row, value and way out."""
    write(desk, row, head="series,symbol,published,effective,value", name="releases.csv")
    error: Any = run(capsys, "data", "check", code=2)[1]
    assert says in error
    assert error.count("\n") == 1
