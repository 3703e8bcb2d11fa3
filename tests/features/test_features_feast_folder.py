"""The folder for Feast's own command: the real command and pages work on the store that serving reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock, monotonic, sleep
from alphaloop.errors import MissingStateError
from alphaloop.runtime.processes import child_environment, free_port
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from alphaloop.universe_hash import hash_universe
from features.compute.batch import backfill
from features.feature_set import DEFAULT, feature_set_of
from features.store.feast import folder as repository
from features.store.feast.connection import open_feast
from features.store.feature_store import FeatureStore
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer

ROOT = Path(__file__).resolve().parents[2]
FEAST = Path(sys.executable).with_name("feast")
CHOSEN = (
    "return_1",
    "rsi(14)",
    "band",
    "own_range(3)",
    "trend = close / sma(50) - 1",
    "is_up = close > lag(close, 1)",
)
OWN = '''
from features.engine.indicator import indicator
from features.engine.operators.window import Window


@indicator(inputs=("close",))
def own_range(length: int = 2):
    """Range of some bars."""
    return Window(lambda close: close.max(axis=-1) - close.min(axis=-1), length)
'''


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with names, plain calls, formulas and an indicator from a file."""
    (tmp_path / "own.py").write_text(OWN)
    chosen = FeatureSettings(
        set=CHOSEN, formulas={"band": "bbands(20).upperband / close"}, files=(tmp_path / "own.py",)
    )
    return Settings(home=tmp_path / "home", features=chosen)


def feast(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Feast's command on a folder; what it printed."""
    ran = subprocess.run(
        [str(FEAST), "-c", str(folder), *arguments],
        env=child_environment({"PYTHONPATH": str(ROOT), **environment}), cwd=folder.parent,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def listed(settings: Settings) -> dict[str, Any]:
    """What Feast's registry holds: views with their fields, and services."""
    store = open_feast(settings.paths.feast, settings.features.online)
    return {
        "views": {
            view.name: {field.name: field for field in view.schema} for view in store.list_feature_views()
        },
        "services": {one.name: one for one in store.list_feature_services()},
    }


def test_feasts_own_command_applies_the_sets_definitions(settings: Settings) -> None:
    """`feast apply` makes a view for each group and a service under the set's hash, all fields described."""
    printed = feast(repository.write_repository(settings), "apply")
    assert "Created feature view features_momentum_indicators" in printed
    chosen, found = feature_set_of(settings), listed(settings)
    views = {name: set(fields) - {"symbol"} for name, fields in found["views"].items()}
    assert views == {
        "windows": {"window", "snapshot", "feature_set", "universe"},
        "features_momentum_indicators": {"return_1", "rsi_14"},
        "features_overlap_studies": {"band", "trend"},
        "features_own": {"own_range_3", "is_up"},
    }
    (service,) = found["services"].values()
    assert service.name == f"set_{chosen.hash[:12]}"
    assert service.tags["hash"] == chosen.hash
    assert service.tags["order"].split(",") == list(chosen.names)
    trend, described = found["views"]["features_overlap_studies"]["trend"], chosen.features[4]
    assert trend.tags == {
        "formula": described.formula, "lookback": "50",
        "exact": str(described.exact).lower(), "inputs": "close",
    }  # fmt: skip
    assert trend.description == described.formula
    assert found["views"]["features_momentum_indicators"]["return_1"].description == "Return over 1 bar."


def test_what_feasts_command_applied_is_what_the_store_uses(
    settings: Settings, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """The folder's definitions are those of the store itself, so neither undoes what the other applied."""
    folder, chosen = repository.write_repository(settings), feature_set_of(settings)
    store = FeatureStore.from_settings(settings)
    assert repository.definitions_of(folder) == store.definitions()
    store.apply()
    frame = backfill(real_bars, chosen)
    store.write_offline(frame)
    rows = real_bars.between(start=real_bars.at(480).timestamp).to_table()
    joined = store.training_frame(rows)
    for name in chosen.names:
        np.testing.assert_array_equal(
            joined[name].to_numpy(zero_copy_only=False),
            frame.values[480:, :, chosen.names.index(name)].ravel(),
        )


@pytest.mark.long
def test_feasts_command_leaves_the_windows_of_other_sets(
    settings: Settings, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """What a streamer writes for versions of other feature sets is not dropped by `feast apply`."""
    last = real_bars.at(len(real_bars) - 1).timestamp
    further = [(DEFAULT, real_bars.symbols)]
    with Streamer.from_settings(settings, real_bars.symbols, real_bars, clock, further=further) as streamer:
        streamer.materialize("s")
    feast(repository.write_repository(settings), "apply")
    universe = hash_universe(real_bars.symbols)
    for features in (feature_set_of(settings), DEFAULT):
        windows = OnlineReader.from_settings(settings).read(
            real_bars.symbols, last, 1, features.hash, universe
        )
        assert windows.feature_set == features.hash


def test_another_set_replaces_the_views_and_the_service(settings: Settings, tmp_path: Path) -> None:
    """Applying another feature set leaves nothing of the former one, and the windows where they are."""
    FeatureStore.from_settings(settings).apply()
    FeatureStore(settings.paths.feast, DEFAULT).apply()
    found = listed(settings)
    assert set(found["services"]) == {f"set_{DEFAULT.hash[:12]}"}
    names = {name for fields in found["views"].values() for name in fields}
    assert names == {"symbol", "window", "snapshot", "feature_set", "universe", *DEFAULT.names}


def test_the_folder_is_plain_files_that_travel(settings: Settings, tmp_path: Path) -> None:
    """Written twice it is the same; written elsewhere it serves the same store; a foreign folder is named."""
    first = repository.write_repository(settings)
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    assert set(before) == {"feature_store.yaml", "definitions.py", "features.json"}
    assert {
        path.name: path.read_bytes() for path in repository.write_repository(settings).iterdir()
    } == before
    other = repository.write_repository(settings, tmp_path / "other")
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before
    with pytest.raises(MissingStateError, match="alphaloop features repo"):
        repository.definitions_of(tmp_path)


@pytest.mark.long
def test_feasts_pages_show_the_registry(settings: Settings) -> None:
    """`feast ui` on loopback answers with the pages, and its registry lists the views and the service."""
    folder, port = repository.write_repository(settings), free_port()
    FeatureStore.from_settings(settings).apply()
    with subprocess.Popen(
        [str(FEAST), "-c", str(folder), "ui", "--host", "127.0.0.1", "--port", str(port)],
        env=child_environment({"PYTHONPATH": str(ROOT)}), cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            projects = json.loads(_fetch(f"{url}/projects-list.json", server))
            assert [one["id"] for one in projects["projects"]] == ["alphaloop"]
            views = json.loads(_fetch(f"{url}/api/v1/feature_views?project=alphaloop", server))
            shown = {one["spec"]["name"] for one in views["featureViews"]}
            assert shown >= {"windows", "features_momentum_indicators", "features_own"}
            services = json.loads(_fetch(f"{url}/api/v1/feature_services?project=alphaloop", server))
            assert [one["spec"]["name"] for one in services["featureServices"]] == [
                f"set_{feature_set_of(settings).hash[:12]}"
            ]
            assert b'<div id="root"' in _fetch(url, server)
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def _fetch(url: str, server: subprocess.Popen[bytes]) -> bytes:
    deadline = monotonic() + 120
    while True:
        try:
            with urlopen(url, timeout=30) as answer:
                body: bytes = answer.read()
                return body
        except URLError:
            if monotonic() > deadline or server.poll() is not None:
                raise
            sleep(0.2)


@pytest.mark.long
def test_feasts_command_works_on_redis(
    settings: Settings, redis_server: Any, tmp_path: Path, real_bars: BarPanel, clock: ReplayClock
) -> None:
    """With windows in a Redis behind a password, `feast apply` and lists work, and the windows stay."""
    with redis_server(tmp_path, "hush") as server:
        address = server.address.replace("//", "//:hush@")
        features = settings.features.model_copy(update={"online": address})
        chosen = settings.model_copy(update={"features": features})
        with Streamer.from_settings(chosen, real_bars.symbols, real_bars, clock) as streamer:
            streamer.materialize("kept")
        folder = repository.write_repository(chosen)
        feast(folder, "apply", REDIS_PASSWORD="hush")
        names = feast(folder, "feature-services", "list", REDIS_PASSWORD="hush")
        assert f"set_{feature_set_of(chosen).hash[:12]}" in names
        stored = OnlineReader.from_settings(chosen).stored(real_bars.symbols)
        assert {one.snapshot for one in stored.values()} == {"kept"}
        assert not any(b"hush" in path.read_bytes() for path in folder.iterdir())


def test_a_repository_of_an_earlier_release_is_still_applied(settings: Settings) -> None:
    """Feast's command works on a folder whose files import the names of releases before 0.2."""
    folder = repository.write_repository(settings)
    file = folder / repository.DEFINITIONS_FILE
    file.write_text(file.read_text().replace("features.store.feast.folder", "features.repo.folder"))
    assert "features.repo" in file.read_text()
    assert "Created feature view features_own" in feast(folder, "apply")


def test_the_store_on_redis_of_an_earlier_release_is_found() -> None:
    """A feature_store.yaml that names the store as releases before 0.2 did is read as one of today."""
    from feast.repo_config import get_online_config_from_type

    former = "features.repo.redis_store.FencedRedisOnlineStore"
    kind = get_online_config_from_type(former)
    assert kind(type=former, connection_string="redis://localhost:6379/0").type == former
