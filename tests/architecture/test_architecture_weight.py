"""What a room brings along: heavy libraries load late, and small images stay small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "lightgbm", "stable_baselines3", "mlflow", "ray", "feast", "evidently", "onnx", "kfp",
         "matplotlib")  # fmt: skip

# Imports every module of the rooms named and prints which of the libraries that brought along.
PROGRAM = """
import importlib, pkgutil, sys
rooms, libraries = sys.argv[1].split(","), sys.argv[2].split(",")
for room in rooms:
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        if not module.name.startswith(
            ("features.repo.", "features.store.feast.", "alphaloop.journal.migrations.")
        ):
            importlib.import_module(module.name)
print(" ".join(name for name in libraries if name in sys.modules))
"""


def printed(program: str, *arguments: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT, env=environment | {"PYTHONSAFEPATH": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def brought_along(rooms: Iterable[str], libraries: Iterable[str]) -> list[str]:
    """Which `libraries` a fresh interpreter holds once every module of `rooms` is imported."""
    return printed(PROGRAM, ",".join(rooms), ",".join(libraries))


def test_serving_brings_no_training_library() -> None:
    """Every module of serving is imported, and no training library came with it."""
    assert brought_along(["serving"], ["torch", "lightgbm", "stable_baselines3", "optuna"]) == []


def test_trading_brings_no_ray() -> None:
    """Every module of trading is imported, and neither Ray nor a model came with it."""
    assert brought_along(["trading"], ["ray", "models", "mlflow", "torch"]) == []


@pytest.mark.parametrize(
    "room",
    [
        "alphaloop",
        "marketdata",
        "features",
        "models",
        "serving",
        "trading",
        "rollouts",
        "monitoring",
        "loop",
        "cli",
    ],
)
def test_heavy_libraries_load_late(room: str) -> None:
    """Importing any module of a room loads no heavy library: they load where they are used."""
    assert brought_along([room], HEAVY) == []


def test_feast_brings_no_torch(tmp_path: Path) -> None:
    """A store is opened without it, though it is installed; who asks Feast for a tensor gets it then."""
    asked = """
import sys
from pathlib import Path
from features.store.feast.connection import open_feast
open_feast(Path(sys.argv[1]))
print("torch" in sys.modules)
from feast.infra.offline_stores import offline_store
import types
sys.modules["torch"] = types.ModuleType("torch")
print(offline_store.get_torch().__name__)
"""
    assert printed(asked, str(tmp_path)) == ["False", "torch"]


def test_feast_is_imported_without_its_run_time_type_checks(tmp_path: Path) -> None:
    """Feast's classes are as written, which saves seconds of each start; others' checks go on."""
    asked = """
import sys
from pathlib import Path
from features.store.feast.connection import open_feast
open_feast(Path(sys.argv[1]))
import feast, typeguard
print(feast.Entity(name="symbol", description=1).description)
print(typeguard.typechecked.__module__)
"""
    assert printed(asked, str(tmp_path)) == ["1", "typeguard"]


def test_feast_makes_no_folder_of_metrics(tmp_path: Path) -> None:
    """Nothing is left of a killed process, and counters of two registries made afterwards stay apart."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    asked = """
import os, sys, tempfile
from pathlib import Path
tempfile.tempdir = sys.argv[2]
for name in ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR"):
    os.environ.pop(name, None)
before = dict(os.environ)
from features.store.feast.connection import open_feast
open_feast(Path(sys.argv[1]))
import feast.metrics
print(dict(os.environ) == before)
from prometheus_client import CollectorRegistry, Counter
for step in (1, 2):
    counter = Counter("steps", "Steps.", registry=CollectorRegistry())
    counter.inc(step)
    print(counter._value.get())
print(os.listdir(sys.argv[2]))
"""
    assert printed(asked, str(tmp_path / "feast"), str(temporary)) == ["True", "1.0", "2.0", "[]"]


def test_a_look_at_drift_imports_evidently_in_part_and_a_report_all_of_it() -> None:
    """The distance comes without Evidently's reports and language models; they are there once asked for."""
    asked = """
import sys
import numpy, pandas
from monitoring.drift.drift_monitor import evidently_distance
values = numpy.arange(100.0)
evidently_distance(pandas.Series(values), values)
print("evidently.descriptors" in sys.modules)
import evidently.presets
print(evidently.presets.DataDriftPreset.__name__, evidently.Report.__name__)
from evidently import Dataset
print(Dataset.__name__, evidently.legacy.__name__, "evidently.descriptors" in sys.modules)
try:
    evidently.no_such_name
except AttributeError as error:
    print("no_such_name" in str(error))
"""
    assert printed(asked) == [
        "False", "DataDriftPreset", "Report", "Dataset", "evidently.legacy", "True", "True"
    ]  # fmt: skip


def extras() -> dict[str, list[str]]:
    """The extras of pyproject.toml, and the base dependencies under the empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["optional-dependencies"] | {"": project["dependencies"]}


def installed_closure(requirements: Iterable[str]) -> set[str]:
    """Names of all packages that `requirements` bring along, followed through what is installed."""
    found: set[tuple[str, str]] = set()
    pending = [Requirement(line) for line in requirements]
    while pending:
        requirement = pending.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for extra in {"", *requirement.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            lines = extras()[extra] if name == "alphaloop" else _requires(name, extra)
            pending += [Requirement(line) for line in lines]
    return {name for name, _ in found}


def _requires(name: str, extra: str) -> list[str]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return []
    kept = []
    for line in lines:
        marker = Requirement(line).marker
        applies = marker is None or marker.evaluate({"extra": extra})
        if applies:
            kept.append(line)
    return kept


def test_every_extra_is_there() -> None:
    """The extras that keep images small are all defined."""
    assert {"train", "serve", "trade", "control", "cli", "console", "demo", "dev", "all"} <= set(extras())


def test_the_serving_image_has_no_torch() -> None:
    """`alphaloop[serve]` leads to no training library, followed to the last dependency."""
    packages = installed_closure(["alphaloop[serve]"])
    assert packages & {"torch", "lightgbm", "stable-baselines3", "optuna", "kfp", "evidently"} == set()
    assert {"ray", "onnxruntime", "tritonclient"} <= packages


def test_the_trading_image_has_no_ray() -> None:
    """`alphaloop[trade]` leads neither to Ray nor to a model runtime, followed to the last dependency."""
    packages = installed_closure(["alphaloop[trade]"])
    assert packages & {"ray", "torch", "mlflow", "onnxruntime", "lightgbm"} == set()
    assert {"tritonclient", "grpcio"} <= packages


def test_everything_installed_is_pinned() -> None:
    """Every package that `alphaloop[all]` leads to stands in constraints.txt with one version."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line and not line.startswith("#")}
    needed = installed_closure(["alphaloop[all]"]) - {"alphaloop"}
    assert sorted(name for name in needed - pinned if not name.startswith(("nvidia-", "cuda-"))) == []
