"""Universe and instruments from end to end: a member that leaves, and lots, in gate and backtest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.settings.settings import load_settings
from cli import main
from loop.workspace import open_registry

DAYS = [str(day) for day in np.arange("2014-01-02", "2018-01-01", dtype="datetime64[D]") if np.is_busday(day)]
NAMES = ("AA", "BB", "CC", "DD", "EE", "FF")
# The last symbol is no member any more when it multiplies.
LEAVES = "2016-06-01"
JUMPS = "2016-07-01"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six stocks on the exchange's days, of which the last leaves and then rises eightfold in a month."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", f"folder:{tmp_path / 'bars'}?calendar=24/7")
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", '["return_5", "momentum_252_21", "rank(return_5)"]')
    for name, value in (("FIRST_TEST", "0.5"), ("FOLDS", "2")):
        monkeypatch.setenv(f"ALPHALOOP_TRAINING__{name}", value)
    random = np.random.default_rng(5)
    lines = ["symbol,date,close"]
    for name in NAMES:
        close = 50.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, len(DAYS))))
        if name == NAMES[-1]:
            since = np.clip([(np.datetime64(day) - np.datetime64(JUMPS)).astype(int) for day in DAYS], 0, 30)
            close *= 8.0 ** (since / 30)
        lines += [f"{name},{day},{price:.4f}" for day, price in zip(DAYS, close, strict=True)]
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "bars.csv").write_text("\n".join(lines) + "\n")
    known = "2010-01-01T00:00:00Z"
    rows = [f"{name},{known},{LEAVES + 'T00:00:00Z' if name == NAMES[-1] else ''},{known}" for name in NAMES]
    (tmp_path / "members.csv").write_text("\n".join(["symbol,start,end,published", *rows]) + "\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command; returns its answer, parsed from JSON."""
    code = main.run_command([*arguments, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_nobody_earns_by_who_is_no_member(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    """Gate, backtest and benchmarks earn the eightfold rise of a former member only without a universe."""
    sharpe, returns = {}, {}
    for universe in ("", "members.csv"):
        monkeypatch.setenv("ALPHALOOP_HOME", str(workspace / f"home{len(universe)}"))
        monkeypatch.setenv("ALPHALOOP_DATA__UNIVERSE", universe)
        run(capsys, "features", "build")
        run(capsys, "train", "momentum")
        card = open_registry(load_settings()).card("equities", "1")
        sharpe[universe] = card.metric("equal_weight_sharpe")
        traded = run(capsys, "backtest", "equities", "--from", "2016-05-02")
        names = ("strategy", "equal_weight", "momentum_12_1")
        returns[universe] = [traded[name]["net_return"] for name in names]
    assert sharpe[""] > sharpe["members.csv"] + 1.0
    assert min(returns[""]) > 0.5
    assert max(returns["members.csv"]) < 0.4


def test_a_backtest_trades_whole_lots(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    """A lot that no book can pay is not traded, a smaller one is; a symbol without terms is refused."""
    monkeypatch.setenv("ALPHALOOP_HOME", str(workspace / "home"))
    run(capsys, "features", "build")
    run(capsys, "train", "momentum")
    monkeypatch.setenv("ALPHALOOP_TRADING__INSTRUMENTS", "instruments.csv")
    orders = {}
    for lot in ("1", "1000000"):
        rows = [f"{name},{lot},0.01" for name in NAMES]
        (workspace / "instruments.csv").write_text("\n".join(["symbol,lot,tick", *rows]) + "\n")
        orders[lot] = run(capsys, "backtest", "equities", "--from", "2016-05-02")["orders"]
    assert orders["1"] > 0 == orders["1000000"]
    (workspace / "instruments.csv").write_text("symbol,lot,tick\nAA,1,0.01\n")
    assert main.run_command(["backtest", "equities", "--from", "2016-05-02"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "unknown instrument" in line]
    assert "unknown instrument 'BB, CC, DD, EE, FF' in" in line and "instruments.csv; known: AA" in line
