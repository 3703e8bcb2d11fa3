"""The whole loop, once, on fewer symbols and bars: the demo's own command, with a shorter plot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from alphaloop.settings.settings import load_settings
from cli.demo import command
from cli.demo.scenario import demo_settings
from cli.demo.scenario_config import ScenarioConfig
from loop import audit

SYMBOLS = (
    "AAPL", "BAC", "CVX", "GE", "HD", "JNJ", "JPM", "KO",
    "LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "WMT", "XOM",
)  # fmt: skip
SHORT = ScenarioConfig(
    title="January to March 2020",
    symbols=SYMBOLS,
    live_from="2019-12-31",
    live_to="2020-03-31",
    trials=2,
    folds=3,
    retrain_labels=10,
)

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of one finished run."""
    folder = tmp_path_factory.mktemp("demo")
    before = {process.pid for process in psutil.process_iter()}
    assert command.run_demo(SHORT, folder) == 0
    ours = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    assert ours == [], "the run left processes behind"
    yield folder / "latest"


@pytest.fixture(scope="module")
def report(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "report.json").read_text())
    return found


def test_the_report_has_every_key_it_promises(report: dict[str, Any], home: Path) -> None:
    """Keys of report.json are a contract with those who read it by program."""
    expected = {
        "data": {"source", "symbols", "rows", "first", "last", "snapshot"},
        "features": {"count", "set_hash", "parity_max_abs_diff"},
        "serving": {"requests", "errors", "p50_ms", "p99_ms"},
        "trading": {
            "orders", "fills", "net_return", "sharpe_net", "equal_weight_sharpe", "momentum_sharpe",
            "max_drawdown",
        },
        "drift": {"alarms", "calibration"},
        "lineage": {"order_id", "verified"},
    }  # fmt: skip
    for name, keys in expected.items():
        assert keys <= set(report[name]), name
    of_models = {
        "name", "family", "version", "digest", "ic", "ic_tstat", "sharpe_net", "active_ir_net",
        "fidelity_max_abs_diff", "gate",
    }  # fmt: skip
    assert all(of_models <= set(model) for model in report["models"])
    assert all({"passed", "reasons"} <= set(model["gate"]) for model in report["models"])
    of_rollouts = {"version", "kind", "outcome", "evidence", "started", "ended", "bars"}
    assert all(of_rollouts <= set(rollout) for rollout in report["rollouts"])
    assert all({"name", "seconds"} <= set(stage) for stage in report["stages"])
    html = (home / "report.html").read_text()
    assert "<script src" not in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_a_busy_machine_has_time_to_answer_a_replayed_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar of the demo waits half a minute for its forecasts; a longer deadline of the user's stays."""
    assert demo_settings(tmp_path, SHORT).trading.prediction_deadline_ms == 30_000
    monkeypatch.setenv("ALPHALOOP_TRADING__PREDICTION_DEADLINE_MS", "60000")
    assert demo_settings(tmp_path, SHORT).trading.prediction_deadline_ms == 60_000


def test_march_2020_raises_the_alarm(report: dict[str, Any]) -> None:
    """Drift is noticed in the crash, and not all the time."""
    dates = [alarm["date"] for alarm in report["drift"]["alarms"]]
    assert any("2020-02-15" <= date <= "2020-04-30" for date in dates)
    assert sum(not "2020-02-15" <= date <= "2020-04-30" for date in dates) <= 2
    assert report["drift"]["calibration"]["alarms_per_year"] <= 1


def test_the_alarm_led_to_a_retraining_with_a_reasoned_end(report: dict[str, Any]) -> None:
    """The pipeline's candidate was refused with reasons or went through a rollout."""
    retrained = [model for model in report["models"] if model["name"] == "equities" and model["pipeline_run"]]
    assert retrained
    ended = {rollout["version"]: rollout for rollout in report["rollouts"] if rollout["kind"] == "real"}
    for model in retrained:
        rollout = ended[model["version"]]
        assert rollout["evidence"]["reason"]
        assert (rollout["outcome"] == "rejected") is (not model["gate"]["passed"])


def test_both_sabotages_are_rolled_back_on_evidence(report: dict[str, Any]) -> None:
    """Rotated features are found by recomputation at once, the leaked model by what it does."""
    sabotages = [rollout for rollout in report["rollouts"] if rollout["kind"] == "sabotage"]
    assert [rollout["outcome"] for rollout in sabotages] == ["rolled_back", "rolled_back"]
    rotated, leaked = sabotages
    assert (rotated["evidence"]["layer"], rotated["bars"]) == ("recomputation", 1)
    assert leaked["evidence"]["layer"] in {"behaviour", "cost", "ic", "pnl"}
    assert leaked["evidence"]["recomputation_max_abs_diff"] <= 1e-4


def test_a_better_model_is_promoted_where_the_truth_is_known(report: dict[str, Any]) -> None:
    """On simulated bars with a planted signal the challenger earns its promotion."""
    simulated = [rollout for rollout in report["rollouts"] if rollout["kind"] == "simulated"]
    assert [rollout["outcome"] for rollout in simulated] == ["promoted"]


def test_nothing_was_lost_between_training_and_serving(report: dict[str, Any]) -> None:
    """Features are the same three ways, files give their models' scores, and no request failed."""
    assert report["features"]["parity_max_abs_diff"] <= 1e-6
    assert all(model["fidelity_max_abs_diff"] <= 1e-4 for model in report["models"])
    assert report["serving"]["errors"] == 0
    assert report["serving"]["requests"] > 1_000


def test_every_order_is_decided_again_and_the_journal_is_whole(report: dict[str, Any], home: Path) -> None:
    """Lineage holds, every chain verifies, and a sample of orders is replayed to the identical ones."""
    assert report["lineage"]["verified"] is True
    settings = load_settings(home=home.resolve())
    assert all(chain.ok for chain in audit.audit_journal(settings))
    ids = audit.order_ids(settings)
    assert all(
        audit.replay_order(settings, order_id)["identical"] for order_id in ids[:: max(1, len(ids) // 20)]
    )
