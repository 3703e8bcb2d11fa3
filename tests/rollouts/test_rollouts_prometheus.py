"""A real Prometheus reads the page of a rollout, and the alerts of the documentation are its own rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument, RolloutKind, RolloutState
from alphaloop.runtime.processes import free_port
from rollouts.metrics import RolloutCollector
from rollouts.metrics_page import serve_metrics
from rollouts.status import EValue, RolloutEvidence, RolloutStatus
from rollouts.transition import ROLLOUT_TRANSITION

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
MODEL = "equities"
BEFORE = datetime(2024, 1, 2, tzinfo=UTC)


def require(program: str) -> str:
    """The path of `program`; without it the test is skipped, and fails where nothing may be missing."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The alert rules of the documentation as a file."""
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "rules.yml"
    file.write_text(block)
    return file


class Prometheus:
    """A Prometheus of our own on a free port, which scrapes one page five times a second."""

    def __init__(self, folder: Path, page_port: int, rules: Path) -> None:
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n"
            f"rule_files: ['{rules}']\n"
            f"scrape_configs:\n"
            f"  - job_name: alphaloop\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{page_port}']}}]\n"
        )
        self._process = subprocess.Popen(
            [require("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"],
            cwd=folder, env={**os.environ, "GOMAXPROCS": "1"},
        )  # fmt: skip

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The samples that a query in PromQL finds now."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urlencode({'query': query})}"
        with urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return list(told["data"]["result"])

    def wait_for(self, query: str) -> list[dict[str, Any]]:
        """What `query` finds as soon as it finds anything."""
        deadline = monotonic() + 60
        while monotonic() < deadline:
            try:
                found = self.ask(query)
            except URLError:
                found = []
            if found:
                return found
            sleep(0.1)
        return pytest.fail(f"within a minute Prometheus found nothing for {query}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def prometheus(folder: Path, page_port: int, rules: Path) -> Iterator[Prometheus]:
    """A Prometheus for a block."""
    server = Prometheus(folder, page_port, rules)
    try:
        yield server
    finally:
        server.stop()


def standing(log10_e: float) -> RolloutStatus:
    """A rollout under way in which P&L speaks against the challenger, and IC has said nothing."""
    document = RolloutDocument(MODEL, "1", 3, RolloutState.CANARY, "2", weight=0.25)
    odds = (EValue("pnl", "against", 12, log10_e, 2.456), EValue("ic", "against", 0, 0.0, 2.523))
    evidence = RolloutEvidence(
        rollout="2@None", kind=RolloutKind.REAL, as_of=BEFORE, bars=17, past_bars=0, stage_bars=2,
        stage_bars_left=8, bars_left=67, recomputation=1e-6, tolerance=1e-4, failures=0, fault=False,
        false_rollback=0.01, shares=(("ic", 0.3), ("pnl", 0.35)), odds=odds,
    )  # fmt: skip
    return RolloutStatus(document, BEFORE, evidence)


def test_prometheus_reads_the_page_and_raises_the_alert(tmp_path: Path, rules: Path) -> None:
    """It scrapes the page, answers questions in PromQL, and alerts where evidence nears its threshold."""
    require("prometheus")
    journal = Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", SystemClock())
    with journal.writer(CONTROL_STREAM) as writer:
        step = {"model": MODEL, "state": "canary", "layer": "", "outcome": None, "by": "controller"}
        writer.append(ROLLOUT_TRANSITION, step | {"generation": 3})
    now = standing(0.1)
    collector, port = RolloutCollector(MODEL, lambda: now, journal), free_port()
    with serve_metrics(collector, port), prometheus(tmp_path, port, rules) as server:
        (up,) = server.wait_for("up == 1")
        assert up["metric"]["job"] == "alphaloop"
        left = "alphaloop_rollout_e_value_threshold_log10 - alphaloop_rollout_e_value_log10"
        (found,) = server.wait_for(left)
        assert (found["metric"]["layer"], found["metric"]["test"]) == ("pnl", "against")
        assert float(found["value"][1]) == pytest.approx(2.356)
        (state,) = server.ask("alphaloop_rollout_state == 1")
        assert (state["metric"]["model"], state["metric"]["state"]) == (MODEL, "canary")
        (taken,) = server.ask("sum by (from, to) (alphaloop_rollout_transitions_total)")
        assert (taken["metric"], taken["value"][1]) == ({"from": "none", "to": "canary"}, "1")
        assert server.ask("ALERTS") == []
        now = standing(1.6)
        (alert,) = server.wait_for('ALERTS{alertstate="firing"}')
        assert alert["metric"]["alertname"] == "RolloutNearRollback"
        assert alert["metric"]["layer"] == "pnl"


def promtool(*arguments: str) -> str:
    """What promtool says; the test fails with that where it finds fault."""
    done = subprocess.run(
        [require("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_documented_alerts_are_valid_rules(rules: Path) -> None:
    """Prometheus' own tool reads every rule of the documentation."""
    assert "3 rules found" in promtool("check", "rules", str(rules))


def test_the_documented_alerts_fire_where_they_should(tmp_path: Path, rules: Path) -> None:
    """A rollback, odds near a threshold and an unjournaled document raise theirs; calm raises none."""
    where = 'model="equities",layer="pnl",test="against"'

    def series(name: str, values: str, labels: str = 'model="equities"') -> dict[str, str]:
        return {"series": f"alphaloop_rollout_{name}{{{labels}}}", "values": values}

    def firing(minute: int, alert: str, *alerts: dict[str, Any]) -> dict[str, Any]:
        return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": list(alerts)}

    def fired(severity: str, summary: str, **labels: str) -> dict[str, Any]:
        return {
            "exp_labels": {"severity": severity, "model": "equities"} | labels,
            "exp_annotations": {"summary": summary},
        }

    back = fired(
        "warning",
        "A challenger of equities was rolled back; see: alphaloop rollout status",
        outcome="rolled_back",
    )
    near = fired(
        "info", "pnl speaks against the challenger of equities: odds 10^1.5", layer="pnl", test="against"
    )
    behind = fired("warning", "The rollout document of equities is not what the journal tells of")
    ended = ("RolloutRolledBack", 'model="equities",outcome="rolled_back"')
    told = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    series("ended_total", "0x4 1x20", ended[1]),
                    series("e_value_log10", "0.2x4 1.5x4 _x20", where),
                    series("e_value_threshold_log10", "2.456x4 2.456x4 _x20", where),
                    series("generation", "3x4 4x20"),
                    series("journaled_generation", "3x9 4x3 3x20"),
                ],
                "alert_rule_test": [
                    firing(3, ended[0]),
                    firing(7, ended[0], back),
                    firing(3, "RolloutNearRollback"),
                    firing(7, "RolloutNearRollback", near),
                    # The rollout has ended, and its evidence is told no more.
                    firing(20, "RolloutNearRollback"),
                    firing(8, "RolloutNotJournaled"),
                    firing(24, "RolloutNotJournaled", behind),
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(told))
    assert "SUCCESS" in promtool("test", "rules", str(file))
