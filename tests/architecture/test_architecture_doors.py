"""One library, one door; one clock; nothing pickled; nothing asserted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphaloop.runtime.package_roots import PACKAGES

ROOT = Path(__file__).resolve().parents[2]

# A library (or a part of one) and the only places that may import it.
DOORS = {
    "boto3": ("alphaloop/storage/",),
    "botocore": ("alphaloop/storage/",),
    "kfp": ("pipelines/",),
    "kfp_server_api": ("pipelines/kubeflow/",),
    "kubernetes": ("pipelines/",),
    "feast": ("features/store/feature_store.py", "features/store/streamer.py", "features/store/feast/"),
    "redis": ("features/store/redis_lease.py",),
    "mlflow": ("models/registry/",),
    "optuna": ("models/training/tuning.py",),
    "ray.tune": ("models/training/tuning.py",),
    "ray.serve": ("serving/hosts/ray.py",),
    "evidently": ("monitoring/drift/drift_monitor.py",),
    # Software kits of brokers and of data vendors; some are both.
    "alpaca": ("trading/brokers/alpaca.py", "marketdata/sources/alpaca.py"),
    "ccxt": ("trading/brokers/ccxt.py", "marketdata/sources/ccxt/"),
    "ib_async": ("trading/brokers/ibkr.py", "marketdata/sources/ibkr.py"),
    "skfolio": ("marketdata/sources/sp500_20.py",),
    "hmmlearn": ("features/indicators/hidden_markov.py",),
    "yfinance": ("marketdata/sources/yfinance.py",),
    "bokeh": ("marketdata/sources/bokeh.py",),
    "gym_anytrading": ("marketdata/sources/gym_anytrading.py",),
    "matplotlib": ("alphaloop/html_report/drawing.py",),
}
CLOCK = "alphaloop/clock.py"
READS_CLOCK = {"now", "utcnow", "today"}
CLOCK_OWNERS = {"datetime", "date", "Timestamp", "DatetimeIndex"}
SERIALIZERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def violations(root: Path) -> list[str]:
    """Every breach under `root`, as `path:line what`."""
    found = []
    for room in PACKAGES:
        for path in sorted((root / room).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"), name)
            for node in ast.walk(tree):
                found += [f"{name}:{node.lineno} {breach}" for breach in _breaches(node, name)]
    return found


def _breaches(node: ast.AST, name: str) -> Iterator[str]:
    for module in _imported(node):
        for library, doors in DOORS.items():
            if _is_part(module, library) and not name.startswith(doors):
                yield f"imports {library}, whose door is {' and '.join(doors)}"
        if module.split(".")[0] in SERIALIZERS:
            yield f"imports {module}: nothing is pickled here"
        if _is_part(module, "time") and name != CLOCK:
            yield f"imports {module}: only {CLOCK} reads the time"
    if isinstance(node, ast.Attribute) and name != CLOCK:
        if node.attr in READS_CLOCK and _last_name(node.value) in CLOCK_OWNERS:
            yield f"calls {_last_name(node.value)}.{node.attr}: only {CLOCK} reads the time"
    if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        if not (isinstance(node.value, ast.Constant) and node.value.value is False):
            yield "allows pickle"
    if isinstance(node, ast.Assert):
        yield "asserts: raise an error that names the value instead"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        # `from ray import tune` reaches ray.tune as surely as `import ray.tune` does.
        return sorted({f"{node.module}.{alias.name}" for alias in node.names})
    if isinstance(node, ast.Call) and _last_name(node.func) in {"import_module", "__import__"}:
        first = node.args[0] if node.args else None
        return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ray":
        return [f"ray.{node.attr}"]
    return []


def _is_part(module: str, library: str) -> bool:
    return module == library or module.startswith(library + ".")


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_rooms_keep_the_doors() -> None:
    """No room imports a library past its door, reads the time past the clock, pickles or asserts."""
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source", "breach"),
    [
        ("monitoring/retrain_trigger.py", "import kfp", "imports kfp"),
        ("monitoring/retrain_trigger.py", "from kfp import dsl", "imports kfp"),
        ("features/compute/batch.py", "def f():\n    from feast import FeatureStore", "imports feast"),
        ("features/store/feature_store.py", "def f():\n    import redis", "imports redis"),
        ("serving/inference/router.py", "import mlflow.tracking", "imports mlflow"),
        ("models/training/train.py", "from ray import tune", "imports ray.tune"),
        ("models/training/train.py", "import ray\nray.tune.report({})", "imports ray.tune"),
        ("serving/inference/core.py", "import ray.serve as s", "imports ray.serve"),
        ("serving/hosts/process.py", "from ray import serve", "imports ray.serve"),
        ("rollouts/evidence/evidence_ledger.py", "import evidently", "imports evidently"),
        (
            "rollouts/evidence/evidence_ledger.py",
            "import importlib\nimportlib.import_module('evidently')",
            "imports evidently",
        ),
        ("trading/engine.py", "import alpaca.trading", "imports alpaca"),
        ("trading/brokers/paper.py", "import ccxt", "imports ccxt"),
        ("trading/brokers/paper.py", "import ib_async", "imports ib_async"),
        ("alphaloop/html_report/line_chart.py", "from matplotlib import pyplot", "imports matplotlib"),
        ("marketdata/files/file_source.py", "import skfolio", "imports skfolio"),
        (
            "alphaloop/statistics/matured_labels.py",
            "from datetime import datetime\ndatetime.now()",
            "calls datetime.now",
        ),
        (
            "alphaloop/statistics/matured_labels.py",
            "import datetime\ndatetime.datetime.utcnow()",
            "calls datetime.utcnow",
        ),
        (
            "alphaloop/statistics/matured_labels.py",
            "import pandas as pd\npd.Timestamp.now()",
            "calls Timestamp.now",
        ),
        ("trading/engine.py", "import time\ntime.time()", "imports time"),
        ("trading/engine.py", "from time import perf_counter", "imports time"),
        ("trading/engine.py", "from time import sleep", "imports time"),
        ("models/onnx/export.py", "import pickle", "nothing is pickled"),
        ("models/onnx/export.py", "import numpy\nnumpy.load('x', allow_pickle=True)", "allows pickle"),
        ("models/onnx/export.py", "assert 1 == 1", "asserts"),
    ],
)
def test_a_breach_is_found(tmp_path: Path, path: str, source: str, breach: str) -> None:
    """Each rule, broken on purpose, is found with its file and line."""
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source + "\n", encoding="utf-8")
    found = violations(tmp_path)
    assert any(breach in line and line.startswith(f"{path}:") for line in found), found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pipelines/components.py", "from kfp import dsl"),
        ("features/store/feast/definitions.py", "from feast import Entity"),
        ("serving/hosts/ray.py", "import ray\nfrom ray import serve\nray.serve.run(None)"),
        ("models/training/tuning.py", "import ray\nray.init()"),
        ("models/training/tuning.py", "from datetime import time"),
        ("alphaloop/statistics/matured_labels.py", "def f(clock):\n    return clock.now()"),
        (CLOCK, "import time\nfrom datetime import UTC, datetime\ntime.sleep(0)\ndatetime.now(UTC)"),
    ],
)
def test_a_door_is_open_to_its_owner(tmp_path: Path, path: str, source: str) -> None:
    """What may import a library is not accused of it."""
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source + "\n", encoding="utf-8")
    assert violations(tmp_path) == []
