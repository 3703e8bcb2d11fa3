"""What the drift monitor cannot see is told, and what is no evidence raises no alarm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.clock import ReplayClock
from alphaloop.forecasts import Route
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM, MONITORING_STREAM
from alphaloop.settings.drift import DriftSettings
from monitoring.drift.calibration import DriftCalibration, fit_calibration
from monitoring.drift.drift_monitor import DriftMonitor, DriftResult, write_drift_report
from monitoring.drift_check import live_features
from monitoring.retrain_policy import RetrainPolicy
from monitoring.retrain_trigger import DRIFT_ALARM, DRIFT_BLIND, DRIFT_FLAGGED, RETRAIN_REQUEST, DriftWatch
from serving.log.prediction_log import PredictionRow

START = datetime(2020, 1, 2, 21, tzinfo=UTC)
SYMBOLS = tuple(f"S{index:02d}" for index in range(16))
NAMES = ("noise", "wide", "rank", "other")
SETTINGS = DriftSettings(window=5, episode_gap=5)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, axis=-1), axis=-1) / (values.shape[-1] - 1)


def _market(bars: int, seed: int, *, persistent: bool = True) -> np.ndarray:
    """Features `[bars, symbols, 4]`: noise, and at place 2 a rank that persists (or does not)."""
    draw = np.random.default_rng(seed)
    found = draw.normal(size=(bars, len(SYMBOLS), len(NAMES)))
    level = draw.normal(size=(1, len(SYMBOLS)))
    order = np.cumsum(np.vstack([level * 4, draw.normal(size=(bars - 1, len(SYMBOLS))) * 0.3]), axis=0)
    found[:, :, 2] = _ranks(order if persistent else draw.normal(size=order.shape))
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def calibration() -> DriftCalibration:
    return replace(fit_calibration(_market(400, 0), NAMES, SETTINGS), share=0.75)


def _looks(calibration: DriftCalibration, live: np.ndarray) -> list[DriftResult]:
    monitor = DriftMonitor(calibration)
    found = [monitor.observe(START + timedelta(days=day), bar) for day, bar in enumerate(live)]
    return [look for look in found if look is not None]


def _without(live: np.ndarray, *, symbols: int = 0, features: int = 0, after: int = 2) -> np.ndarray:
    gone = live.copy()
    gone[after:, :symbols, :] = np.nan
    gone[after:, :, :features] = np.nan
    return gone


def test_a_feature_that_goes_missing_is_a_finding(calibration: DriftCalibration) -> None:
    """Features without live values are named once, as not seen and not as drifted."""
    looks = _looks(calibration, _without(_market(14, 1), features=2))
    (first,) = [look for look in looks if look.alarm]
    assert first.blind and not first.drift
    assert looks[-1].unseen == ("noise", "wide")
    assert not {"noise", "wide"} & set(looks[-1].drifted)


@pytest.mark.parametrize(("missing", "told"), [(1, False), (4, False), (9, True), (16, True)])
def test_missing_symbols_are_no_drift(calibration: DriftCalibration, missing: int, told: bool) -> None:
    """Symbols without features raise no alarm of drift; above half of them, what is not seen is told."""
    looks = _looks(calibration, _without(_market(14, 2), symbols=missing))
    assert not any(look.drift for look in looks)
    assert any(look.blind for look in looks) is told


def test_a_second_feature_that_goes_missing_is_told_as_well(calibration: DriftCalibration) -> None:
    """A lasting gap is told once; another feature that joins it is a finding again."""
    live = _market(20, 3)
    live[:, :, 0] = np.nan
    live[10:, :, 1] = np.nan
    assert [look.unseen for look in _looks(calibration, live) if look.blind] == [
        ("noise",),
        ("noise", "wide"),
    ]


def test_ranks_over_a_fixed_universe_are_watched_by_their_persistence(calibration: DriftCalibration) -> None:
    """Their values never drift; who has which value may, and only that is drift of theirs."""
    assert [usual is not None for usual in calibration.persistence] == [False, False, True, False]
    assert calibration.persistence[2] == pytest.approx(0.99, abs=0.02)
    still = _looks(calibration, _without(_market(12, 4), symbols=1))
    torn = _looks(calibration, _market(12, 5, persistent=False))
    assert not any("rank" in look.drifted for look in still)
    assert all("rank" in look.drifted for look in torn)


def test_a_constant_that_changes_is_drift() -> None:
    """A feature that is one value in training, and another live, has drifted: its threshold is not blind."""
    values = _market(300, 0)
    values[:, :, 3] = 1.0
    fixed = fit_calibration(values, NAMES, SETTINGS)
    live = _market(8, 6)
    live[:, :, 3] = 1.0
    assert not any("other" in look.drifted for look in _looks(fixed, live))
    live[:, :, 3] = 2.0
    assert all("other" in look.drifted for look in _looks(fixed, live))


def test_too_few_symbols_are_a_finding(tmp_path: Path) -> None:
    """Where a window holds fewer values than a distance needs, the watch says once that it sees nothing."""
    few = fit_calibration(_market(300, 0)[:, :4], NAMES, SETTINGS)
    assert few.unwatched == NAMES
    for expected in (1, 0):
        watch = _watch(few, tmp_path)
        news = _watched(watch, _market(8, 1)[:, :4])
        assert [one["kind"] for one in news] == [DRIFT_BLIND] * expected
        assert all("no threshold" in one["reason"] for one in news)


def test_thresholds_of_before_do_not_judge_ranks(calibration: DriftCalibration, tmp_path: Path) -> None:
    """A file of an earlier release has a threshold of zero for a rank: the rank is not watched."""
    stored = json.loads(json.dumps(asdict(calibration)))
    for name in ("persistence", "coverage"):
        del stored[name]
    stored["thresholds"][2] = 0.0
    (tmp_path / "calibration.json").write_text(json.dumps(stored))
    old = DriftCalibration.load(tmp_path)
    assert old.unwatched == ("rank",)
    looks = _looks(old, _without(_market(12, 7), symbols=1))
    assert not any("rank" in look.drifted or look.alarm for look in looks)


def test_evidently_s_page_says_what_the_monitor_says(calibration: DriftCalibration, tmp_path: Path) -> None:
    """The page is made with the calibrated thresholds: drift of an alarm is detected there, and no other."""
    calm, torn = _market(5, 8), _market(5, 9, persistent=False)
    torn[:, :, :2] += 2.0
    for name, live in (("calm", calm), ("torn", torn)):
        (look,) = _looks(calibration, live)
        path = tmp_path / f"{name}.html"
        write_drift_report(calibration, live.reshape(-1, len(NAMES)), path)
        said = set(re.findall(r"Dataset Drift is (NOT detected|detected)", path.read_text()))
        assert said == {"detected" if look.flagged else "NOT detected"}
        assert look.flagged is (name == "torn")


def test_the_page_names_what_is_not_seen(calibration: DriftCalibration, tmp_path: Path) -> None:
    """Features without live values are above the others; with none at all the page says only that."""
    live = _without(_market(5, 8), features=1, after=0)
    write_drift_report(calibration, live.reshape(-1, len(NAMES)), tmp_path / "some.html")
    assert "threshold: noise</p>" in (tmp_path / "some.html").read_text()
    write_drift_report(
        calibration, np.full_like(live, np.nan).reshape(-1, len(NAMES)), tmp_path / "none.html"
    )
    assert "threshold: noise, wide, rank, other</p>" in (tmp_path / "none.html").read_text()


def _row(day: int, symbols: tuple[str, ...], features: np.ndarray) -> PredictionRow:
    as_of = START + timedelta(days=day)
    return PredictionRow(
        prediction_id=f"{day}-{len(symbols)}", logged_at=as_of, as_of=as_of, feature_timestamp=as_of,
        model="equities", version="1", digest="", route=Route.CHAMPION, route_keys=("sleeve-00",),
        symbols=symbols, scores=(0.0,) * len(symbols), statuses=("ok",) * len(symbols),
        features=features, input_hash="",
        feature_set="", snapshot="", generation=1, latency_ms=1.0, error=None,
    )  # fmt: skip


def test_an_answer_for_a_few_symbols_is_no_evidence(calibration: DriftCalibration, tmp_path: Path) -> None:
    """A prediction by hand for two symbols, on a bar nobody else asked for, raises and asks for nothing."""
    live = _market(30, 10)
    rows = [_row(day, SYMBOLS, bar) for day, bar in enumerate(live)]
    far = [_row(day, SYMBOLS[:2], live[day - 4, :2] + 9) for day in (30, 31, 32, 33)]
    watch = _watch(calibration, tmp_path)
    seen = list(live_features(rows + far, lambda version: SYMBOLS))
    assert [features is None for _, features, _ in seen] == [False] * 30 + [True] * 4
    assert [news for one in seen for news in watch.on_bar(*one)] == []


def test_the_symbols_of_an_answer_are_put_in_the_order_of_the_universe() -> None:
    """Another order, and symbols besides, are the same evidence."""
    bar = _market(2, 11)[1]
    turned = _row(0, (*SYMBOLS[::-1], "NEW"), np.vstack([bar[::-1], bar[:1]]))
    ((_, features, _),) = live_features([turned], lambda version: SYMBOLS)
    np.testing.assert_array_equal(features, bar)


def test_that_nobody_asks_for_the_whole_universe_is_told_once(
    calibration: DriftCalibration, tmp_path: Path
) -> None:
    """After a window of such bars the watch says that it sees nothing; whoever looks again says no more."""
    for expected in (1, 0):
        watch = _watch(calibration, tmp_path)
        news = [one for day in range(12) for one in watch.on_bar(START + timedelta(days=day), None)]
        assert [one["kind"] for one in news] == [DRIFT_BLIND] * expected
    assert watch.uncovered == 12


def _watch(calibration: DriftCalibration, folder: Path, name: str = "journal") -> DriftWatch:
    journal = Journal(folder / f"{name}.db", folder / f"{name}.anchors", ReplayClock(START))
    policy = RetrainPolicy(family="lightgbm", matured_labels=20, horizon=2)
    return DriftWatch("equities", DriftMonitor(calibration), journal, policy)


def _weekdays() -> Iterator[datetime]:
    moment = START
    while True:
        if moment.weekday() < 5:
            yield moment
        moment += timedelta(days=1)


def _watched(
    watch: DriftWatch, live: np.ndarray, first: int = 0, last: int | None = None
) -> list[dict[str, Any]]:
    moments = [moment for moment, _ in zip(_weekdays(), live, strict=False)]
    days = range(first, len(live) if last is None else last)
    return [news for day in days for news in watch.on_bar(moments[day], live[day])]


def _kinds(news: list[dict[str, Any]]) -> list[str]:
    return [one["kind"] for one in news]


@pytest.fixture(scope="module")
def lasting() -> np.ndarray:
    """A market that changes for good at its fifteenth bar."""
    live = _market(60, 12)
    live[15:] += 3
    return live


def test_a_short_log_asks_for_the_same_retraining(
    calibration: DriftCalibration, lasting: np.ndarray, tmp_path: Path
) -> None:
    """Looked at every few days on what is left of the log, a lasting change is one alarm and one request."""
    whole = _watched(_watch(calibration, tmp_path, "whole"), lasting)
    assert _kinds(whole) == [DRIFT_ALARM, RETRAIN_REQUEST]
    short = [
        news
        for end in range(12, 61, 4)
        for news in _watched(_watch(calibration, tmp_path), lasting, max(0, end - 12), end)
    ]
    assert _kinds(short) == [DRIFT_ALARM, RETRAIN_REQUEST]
    assert short[0]["as_of"] == whole[0]["as_of"]
    asked = [datetime.fromisoformat(news[1]["as_of"]) for news in (whole, short)]
    assert abs(asked[1] - asked[0]) <= timedelta(days=4)


def test_a_missing_feature_is_told_once_over_a_short_log(
    calibration: DriftCalibration, tmp_path: Path
) -> None:
    """The same holds of features that are not seen."""
    gone = _without(_market(40, 13), features=1, after=6)
    told = [
        news
        for end in range(12, 41, 4)
        for news in _watched(_watch(calibration, tmp_path), gone, max(0, end - 12), end)
    ]
    assert _kinds(told) == [DRIFT_BLIND]


def test_an_alarm_of_an_earlier_release_gets_its_retraining(
    calibration: DriftCalibration, lasting: np.ndarray, tmp_path: Path
) -> None:
    """Its journal knows the alarm alone: the bars since are those of the log, and estimated before it."""
    watch = _watch(calibration, tmp_path)
    (alarm,) = _watched(watch, lasting, 0, 30)
    old = _watch(calibration, tmp_path, "old")
    body = {name: value for name, value in alarm.items() if name not in {"kind", "bar_seconds"}}
    with old.journal.writer(CONTROL_STREAM) as writer:
        writer.append(DRIFT_ALARM, body)
    assert _kinds(_watched(old, lasting, 44, 60)) == [RETRAIN_REQUEST]
    assert list(old.journal.records(MONITORING_STREAM, DRIFT_FLAGGED))


def test_a_request_answers_the_alarms_before_it(
    calibration: DriftCalibration, lasting: np.ndarray, tmp_path: Path
) -> None:
    """Alarms that were never answered lead to one retraining and not to one each."""
    watch = _watch(calibration, tmp_path)
    with watch.journal.writer(CONTROL_STREAM) as writer:
        for day in range(3):
            moment = (START - timedelta(days=200 - day)).isoformat()
            writer.append(
                DRIFT_ALARM,
                {"as_of": moment, "cause_id": f"c{day}", "model": "equities", "share": 0.5, "features": []},
            )
    news = _watched(watch, _market(20, 14))
    assert [(one["kind"], one["cause_id"]) for one in news] == [(RETRAIN_REQUEST, "c2")]
    assert replace(watch, _state=None)._read_state().waiting == []
