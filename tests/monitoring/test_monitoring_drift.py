"""Drift is measured as Evidently measures it, on thresholds that only the training years know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import DamagedStoreError, DataError, MissingStateError
from alphaloop.journal.store import Journal
from alphaloop.settings.drift import DriftSettings
from features.compute.batch import FeatureFrame
from monitoring.drift.calibration import (
    DriftCalibration,
    _rolling_distance,
    fit_calibration,
    fit_calibration_on,
    fit_missing_calibration,
)
from monitoring.drift.drift_monitor import DriftMonitor, evidently_distance, write_drift_report
from monitoring.drift.episodes import BarTimes
from monitoring.drift.reference import DriftReference
from monitoring.retrain_policy import RetrainPolicy
from monitoring.retrain_trigger import DRIFT_ALARM, RETRAIN_REQUEST, DriftWatch

START = datetime(2020, 1, 2, 21, tzinfo=UTC)
FEATURES = ("calm", "trend", "noise")


def _training(bars: int = 900, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(bars, 20, len(FEATURES))).astype(np.float32)


@pytest.fixture(scope="module")
def calibration() -> DriftCalibration:
    return fit_calibration(_training(), FEATURES, DriftSettings(window=10))


def test_the_distance_of_the_calibration_is_evidentlys(calibration: DriftCalibration) -> None:
    """The distance computed over all windows at once is the one that Evidently gives for each."""
    values = _training(30, seed=5)[:, :, 0] * 1.5
    reference = np.array(calibration.reference[0])
    ours = _rolling_distance(values, reference, 10)
    theirs = [evidently_distance(pd.Series(reference), values[i : i + 10].ravel()) for i in range(len(ours))]
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_the_distance_of_the_monitor_is_evidentlys_to_the_last_bit() -> None:
    """References of any scale, with ties and values that are missing, give Evidently's own number."""
    random = np.random.default_rng(1)
    for case in range(60):
        values = random.normal(size=500) * 10 ** random.uniform(-6, 6)
        values = np.round(values, 1) if case % 3 == 0 else values
        live = (random.choice(values, size=random.integers(45, 220)) * (1.0 + 0.3 * (case % 2))).astype("f4")
        live[: case % 5] = np.nan
        ours, theirs = DriftReference(values).distance(live), evidently_distance(pd.Series(values), live)
        np.testing.assert_array_equal(ours, theirs)


def test_memory_of_times_is_bounded_and_counts_are_not_changed() -> None:
    """A watch of years keeps the newest times, from which the bars since an alarm are counted."""
    times = BarTimes(50)
    for day in range(500):
        times.add(START + timedelta(days=day))
    assert len(times._times) < 100
    assert times.since(START + timedelta(days=480)) == 19
    assert times.spacing == 86_400.0


def test_training_itself_stays_within_the_false_alarms_allowed(calibration: DriftCalibration) -> None:
    """The share that raises an alarm is chosen so that the training years alarm seldom enough."""
    assert calibration.alarms_per_year <= DriftSettings().alarms_per_year
    assert 0 < calibration.share <= 1


def test_a_jump_in_volatility_raises_one_alarm_and_not_one_a_bar(calibration: DriftCalibration) -> None:
    """Drift that lasts is one episode."""
    monitor = DriftMonitor(calibration)
    live = np.concatenate([_training(30, seed=1), 4 * _training(15, seed=2)])
    looks = [monitor.observe(START + timedelta(days=day), bars) for day, bars in enumerate(live)]
    alarms = [look for look in looks if look and look.alarm]
    assert len(alarms) == 1
    assert alarms[0].as_of >= START + timedelta(days=30)
    assert set(alarms[0].drifted) == set(FEATURES)


def test_there_is_no_look_before_the_window_is_full(calibration: DriftCalibration) -> None:
    """Fewer bars than the window say nothing."""
    monitor = DriftMonitor(calibration)
    looks = [monitor.observe(START + timedelta(days=day), bars) for day, bars in enumerate(_training(12))]
    assert looks[:9] == [None] * 9
    assert looks[9] is not None


def test_features_that_are_not_the_calibrated_ones_are_refused(calibration: DriftCalibration) -> None:
    """A missing column is an error, never a silent skip."""
    with pytest.raises(DataError, match="knows 3 features"):
        DriftMonitor(calibration).observe(START, np.zeros((20, 2), np.float32))


def test_a_sample_too_small_has_no_distance(calibration: DriftCalibration) -> None:
    """A handful of values is not compared, and NaN is never above a threshold."""
    assert np.isnan(evidently_distance(pd.Series(calibration.reference[0]), np.full(200, np.nan)))


def test_calibration_needs_enough_bars(calibration: DriftCalibration) -> None:
    """Thresholds from a few weeks would be fiction."""
    with pytest.raises(DataError, match="drift needs 262 training bars"):
        fit_calibration(_training(100), FEATURES, DriftSettings(window=10))


@pytest.mark.parametrize(
    ("step", "years"),
    [(timedelta(hours=1), 0.1017), (timedelta(days=1), 2.4394), (timedelta(weeks=1), 17.076)],
)
def test_false_alarms_are_counted_by_the_years_that_the_bars_span(step: timedelta, years: float) -> None:
    """Of 891 looks, hourly ones span five weeks and weekly ones seventeen years; more alarms fit those."""
    stamps = np.array(
        [np.datetime64((START + number * step).replace(tzinfo=None), "ns") for number in range(900)]
    )
    symbols = tuple(f"S{number:02d}" for number in range(20))
    frame = FeatureFrame(stamps, symbols, FEATURES, _training(), "e" * 64)
    found = fit_calibration_on(frame, DriftSettings(window=10, alarms_per_year=0.5))
    assert found.years == pytest.approx(years, rel=1e-3)
    assert found.false_alarms <= 0.5 * years


def test_a_calibration_survives_storage_and_damage_is_named(
    calibration: DriftCalibration, tmp_path: Path
) -> None:
    """What is saved is what is loaded; a damaged or missing file says so."""
    calibration.save(tmp_path)
    assert DriftCalibration.load(tmp_path) == calibration
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(DamagedStoreError, match=r"calibration\.json"):
        DriftCalibration.load(tmp_path)
    with pytest.raises(MissingStateError):
        DriftCalibration.load(tmp_path / "nowhere")


def test_evidently_writes_its_report(calibration: DriftCalibration, tmp_path: Path) -> None:
    """The HTML report is Evidently's own, and names every feature."""
    path = tmp_path / "drift" / "report.html"
    write_drift_report(calibration, _training(10).reshape(-1, 3), path)
    text = path.read_text()
    assert "Wasserstein" in text
    assert all(feature in text for feature in FEATURES)


def _watch(calibration: DriftCalibration, folder: Path) -> DriftWatch:
    journal = Journal(folder / "journal.db", folder / "anchors.jsonl", ReplayClock(START))
    policy = RetrainPolicy(family="lightgbm", matured_labels=5, horizon=2)
    return DriftWatch("equities", DriftMonitor(calibration), journal, policy)


def test_an_alarm_asks_for_retraining_only_once_labels_have_matured(
    calibration: DriftCalibration, tmp_path: Path
) -> None:
    """The crash alone is not refitted: the request waits for labels from after the alarm."""
    watch = _watch(calibration, tmp_path)
    live = np.concatenate([_training(12, seed=3), 4 * _training(25, seed=4)])
    news = [one for day, bars in enumerate(live) for one in watch.on_bar(START + timedelta(days=day), bars)]
    assert [one["kind"] for one in news] == [DRIFT_ALARM, RETRAIN_REQUEST]
    alarm, request = news
    waited = datetime.fromisoformat(request["as_of"]) - datetime.fromisoformat(alarm["as_of"])
    assert waited.days == watch.policy.bars_to_wait() == 8
    assert request["cause_id"] == alarm["cause_id"]


def test_watching_the_same_log_twice_alarms_once(calibration: DriftCalibration, tmp_path: Path) -> None:
    """A second watcher of the same bars journals nothing new."""
    live = np.concatenate([_training(12, seed=3), 4 * _training(25, seed=4)])
    for expected in (2, 0):
        watch = _watch(calibration, tmp_path)
        news = [
            one for day, bars in enumerate(live) for one in watch.on_bar(START + timedelta(days=day), bars)
        ]
        assert len(news) == expected


def test_a_champion_of_other_features_is_watched_by_thresholds_of_its_own(
    calibration: DriftCalibration, tmp_path: Path
) -> None:
    """After a promotion the window starts anew, on the calibration kept for that set; and back again."""
    old = replace(calibration, feature_set="a" * 64)
    new = replace(
        fit_calibration(_training()[:, :, :2], ("x", "y"), DriftSettings(window=10)), feature_set="b" * 64
    )
    old.save(tmp_path)
    new.save(tmp_path)
    watch = replace(_watch(old, tmp_path), calibrations=partial(DriftCalibration.load, tmp_path))
    live, looks = _training(60, seed=3), []
    for day, bars in enumerate(live):
        made, seen = ("b" * 64, bars[:, :2]) if 20 <= day < 40 else ("a" * 64, bars)
        watch.on_bar(START + timedelta(days=day), seen, made)
        looks.append((watch.monitor.calibration.feature_set[0], len(watch.looks)))
    assert [looks[day] for day in (19, 28, 29, 39, 48, 59)] == [
        ("a", 11), ("b", 11), ("b", 12), ("b", 22), ("a", 22), ("a", 33),
    ]  # fmt: skip


def test_features_that_nothing_is_calibrated_for_are_not_watched(
    calibration: DriftCalibration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so once, with what makes a calibration, and the loop goes on."""
    old = replace(calibration, feature_set="a" * 64)
    old.save(tmp_path)
    watch = replace(_watch(old, tmp_path), calibrations=partial(DriftCalibration.load, tmp_path))
    for day in range(30):
        assert watch.on_bar(START + timedelta(days=day), np.zeros((20, 2), np.float32), "b" * 64) == []
    assert watch.looks == []
    assert [record.message.count("`alphaloop train` with that set") for record in caplog.records] == [1]


def test_a_calibration_of_before_does_not_judge_other_features(
    calibration: DriftCalibration, tmp_path: Path
) -> None:
    """It does not say of which set it is: as many features are taken for its own, others are not watched."""
    calibration.save(tmp_path)
    watch = replace(_watch(calibration, tmp_path), calibrations=partial(DriftCalibration.load, tmp_path))
    for day in range(12):
        watch.on_bar(START + timedelta(days=day), np.zeros((20, 4), np.float32), "b" * 64)
    assert watch.looks == []
    for day, bars in enumerate(_training(12)):
        watch.on_bar(START + timedelta(days=20 + day), bars, "a" * 64)
    assert len(watch.looks) == 3


def test_each_feature_set_keeps_its_calibration(calibration: DriftCalibration, tmp_path: Path) -> None:
    """The first is not lost when another is kept, and one that is kept anew replaces its own."""
    sets = {name: replace(calibration, feature_set=name * 64) for name in "abc"}
    for one in sets.values():
        one.save(tmp_path)
    newer = replace(sets["b"], share=0.9)
    newer.save(tmp_path)
    assert DriftCalibration.load(tmp_path) == sets["a"]
    assert [DriftCalibration.load(tmp_path, name * 64) for name in "abc"] == [sets["a"], newer, sets["c"]]
    with pytest.raises(MissingStateError, match="no drift calibration for feature set dddddddddddd"):
        DriftCalibration.load(tmp_path, "d" * 64)


def test_a_new_set_is_calibrated_where_there_is_a_monitor(tmp_path: Path) -> None:
    """Without one nothing is watched yet; with one, a set that has thresholds keeps them."""
    settings = DriftSettings(window=10)
    frame = FeatureFrame(
        np.arange(900).astype("datetime64[D]").astype("datetime64[ns]"), tuple("ABCDEFGHIJKLMNOPQRST"),
        FEATURES, _training(), "a" * 64,
    )  # fmt: skip
    fit_missing_calibration(frame, settings, tmp_path)
    assert list(tmp_path.iterdir()) == []
    fit_calibration_on(frame, settings).save(tmp_path)
    other = replace(frame, names=("x", "y", "z"), feature_set="b" * 64)
    fit_missing_calibration(other, settings, tmp_path)
    kept = tmp_path / f"calibration-{'b' * 12}.json"
    written = kept.stat().st_mtime_ns
    fit_missing_calibration(other, settings, tmp_path)
    assert kept.stat().st_mtime_ns == written
    assert DriftCalibration.load(tmp_path, "b" * 64).features == ("x", "y", "z")
