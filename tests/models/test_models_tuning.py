"""Tuning: real Ray Tune and Optuna, on the training part alone, and nothing left behind."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from alphaloop.errors import VendorError
from alphaloop.runtime.processes import QUIET_ENVIRONMENT, child_environment
from models.dataset import Dataset, make_dataset
from models.evaluation import splits
from models.training import tuning
from models.training.tuning import tune, validation_ic
from models.zoo import registry


@pytest.fixture(scope="module")
def dataset(market: Any) -> Dataset:
    """What lies before the first walk-forward test."""
    first = splits.walk_forward_folds(market.frame.timestamps, 2017, 2, 5)[0]
    return make_dataset(market.frame, market.bars.adjusted_close, 5, first.train)


@pytest.fixture(scope="module")
def ray_session() -> Iterator[Any]:
    """A Ray that this process already has."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET_ENVIRONMENT.items():
            patch.setenv(name, value)
        import ray

        ray.init(
            address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
            object_store_memory=tuning.OBJECT_STORE_BYTES,
        )  # fmt: skip
        yield ray
        ray.shutdown()


def test_without_trials_no_ray_is_started(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trials, or a family with nothing to tune, give the defaults at once."""
    monkeypatch.setattr(tuning, "_local_ray", None)
    for name, trials in (("lightgbm", 0), ("momentum", 5)):
        family = registry.find_family(name)
        found = tune(family, dataset, trials, 1, tmp_path)
        assert found.parameters == family.default_parameters()
        assert math.isnan(found.score) and found.trials == 0
    assert not list(tmp_path.iterdir())


def test_the_same_seed_finds_the_same_parameters(dataset: Dataset, tmp_path: Path, ray_session: Any) -> None:
    """In a Ray that was there before, twice the same search is found, never worse than the defaults."""
    family = registry.find_family("lightgbm")
    told: list[str] = []
    lock = threading.Lock()  # as progress bars have; it cannot be pickled

    def tell(message: str) -> None:
        with lock:
            told.append(message)

    first = tune(family, dataset, 3, 1, tmp_path, on_progress=tell)
    second = tune(family, dataset, 3, 1, tmp_path)
    assert first == second
    defaults = validation_ic(family, dataset, family.default_parameters(), 1)
    assert first.score >= defaults and first.trials == 3
    assert validation_ic(family, dataset, first.parameters, 1) == pytest.approx(first.score)
    assert len(told) == 3 and told[0] == f"trial 1 of 3: validation IC {defaults:.4f}"
    assert ray_session.is_initialized()


def test_a_failing_trial_is_an_error_and_not_a_bad_score(
    dataset: Dataset, tmp_path: Path, ray_session: Any
) -> None:
    """What goes wrong in a worker is raised here, with the family and the cause."""
    nothing = replace(dataset, labels=dataset.labels * math.nan)
    with pytest.raises(VendorError, match=r"of 2 trials of family 'lightgbm' failed: .*give more history"):
        tune(registry.find_family("lightgbm"), nothing, 2, 1, tmp_path)
    assert ray_session.is_initialized()


def test_tuning_never_sees_a_bar_after_the_training_part(dataset: Dataset) -> None:
    """What is sent to a trial ends with the rows that may be learned from."""
    sent = tuning._until(dataset)
    assert len(sent.frame.timestamps) == len(sent.labels) == dataset.rows.stop
    assert sent.frame.timestamps[-1] < dataset.frame.timestamps[dataset.rows.stop]
    family = registry.find_family("lightgbm")
    parameters = family.default_parameters() | {"trees": 20, "minimum_leaf": 50}
    assert validation_ic(family, sent, parameters, 1) == validation_ic(family, dataset, parameters, 1)


OWN_RAY = """
import sys
from pathlib import Path
import psutil
sys.path.insert(0, sys.argv[1])
import conftest
from models.zoo import registry as families
from models.training import tuning
from models.dataset import make_dataset

def count(_):
    started = [process.cmdline() for process in psutil.Process().children(recursive=True)]
    print(sum(any(sys.argv[3] in part for part in command) for command in started), flush=True)

if __name__ == "__main__":
    tuning.RAY_FOLDER = sys.argv[3]
    market = conftest.make_market(Path(sys.argv[2]), bars=400)
    dataset = make_dataset(market.frame, market.bars.adjusted_close, 5, range(0, 380))
    found = tuning.tune(
        families.find("lightgbm"), dataset, 2, 1, Path(sys.argv[2]) / "tuning", on_progress=count
    )
    import ray
    print(found.trials, ray.is_initialized())
"""


@pytest.mark.long
def test_a_ray_of_our_own_is_gone_afterwards(tmp_path: Path) -> None:
    """Where no Ray was, one is started for the search; its processes and files are gone at the end."""
    # Short, for the sockets in it.
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, "-c", OWN_RAY, str(Path(__file__).parent), str(tmp_path), folder],
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        first, second, trials, initialized = done.stdout.split()
        assert int(first) > 1 and int(second) > 1, "Ray was there while it searched"
        assert (trials, initialized) == ("2", "False")
        assert not list(Path(folder).iterdir())
        commands = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
        assert not [command for command in commands if any(folder in part for part in command)]
