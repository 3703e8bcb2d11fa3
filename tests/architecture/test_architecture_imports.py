"""The import contracts of pyproject.toml hold, and each can be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alphaloop.runtime.package_roots import PACKAGES

ROOT = Path(__file__).resolve().parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the rooms in `folder` with the contracts of its pyproject.toml."""
    # Run as `-c`, the working folder comes first on the path, before the installed rooms.
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {"PYTHONSAFEPATH": "", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """All packages with empty modules under the real contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in PACKAGES:
        for path in (ROOT / room).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    return tmp_path


def test_packages_keep_the_contracts() -> None:
    """Imports run one way, and serving, trading and rollouts import only what they may."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_is_allowed_passes(small_house: Path) -> None:
    """Serving may use the online store and the registry, trading the client, rollouts what lies below."""
    (small_house / "serving/inference/core.py").write_text(
        "import features.store.online_reader\n"
        "import models.registry.model_registry\nimport models.registry.card\n"
    )
    (small_house / "trading/engine.py").write_text(
        "import serving.client.client\nimport features.compute.batch\n"
    )
    (small_house / "rollouts/controller.py").write_text("import models.training.train\nimport trading\n")
    (small_house / "monitoring/drift_check.py").write_text("import rollouts.transition\n")
    result = lint_imports(small_house)
    assert result.returncode == 0, result.stdout + result.stderr


ONE_WAY = "Imports run one way through"


@pytest.mark.parametrize(
    ("path", "source", "contract"),
    [
        ("alphaloop/costs.py", "import features", f"{ONE_WAY} the packages"),
        ("marketdata/source.py", "import features.feature_set", f"{ONE_WAY} the packages"),
        ("features/compute/batch.py", "import models.registry.card", f"{ONE_WAY} the packages"),
        ("models/training/train.py", "import serving.inference.core", f"{ONE_WAY} the packages"),
        ("serving/inference/core.py", "import trading", f"{ONE_WAY} the packages"),
        ("rollouts/controller.py", "import monitoring.drift", f"{ONE_WAY} the packages"),
        ("monitoring/drift_check.py", "import loop", f"{ONE_WAY} the packages"),
        ("pipelines/catalogue.py", "import loop.wiring", f"{ONE_WAY} the packages"),
        ("loop/turn.py", "import cli", f"{ONE_WAY} the packages"),
        ("serving/inference/core.py", "import features.compute.batch", "Serving reads the online store"),
        (
            "serving/inference/core.py",
            "import features.store.feature_store",
            "Serving reads the online store",
        ),
        ("serving/inference/core.py", "import models.training.train", "Serving reads the online store"),
        ("serving/inference/core.py", "import marketdata.source", "Serving reads the online store"),
        ("serving/inference/core.py", "import torch", "Serving carries no training library"),
        ("models/registry/model_registry.py", "import lightgbm", "Serving carries no training library"),
        ("trading/engine.py", "import models.registry.card", "Trading knows no model"),
        ("trading/engine.py", "import serving.inference.core", "Trading knows no model"),
        ("serving/client/client.py", "import ray", "Trading carries no Ray"),
        ("rollouts/evidence/layers.py", "def f():\n    import pipelines", "Rollouts and monitoring start no"),
        ("monitoring/retrain_trigger.py", "import kfp", "Rollouts and monitoring start no"),
        ("monitoring/retrain_trigger.py", "import rollouts.controller", "Monitoring changes no rollout"),
        ("alphaloop/bars.py", "import alphaloop.settings.settings", f"{ONE_WAY} the core"),
        ("alphaloop/journal/store.py", "import alphaloop.decision.returns", f"{ONE_WAY} the core"),
        ("marketdata/connectors/retry.py", "import marketdata.sources.alpaca", f"{ONE_WAY} marketdata"),
        ("marketdata/quality/checks.py", "import marketdata.storage.snapshots", f"{ONE_WAY} marketdata"),
        ("features/engine/graph.py", "import features.indicators.bias", f"{ONE_WAY} features"),
        ("features/compute/batch.py", "import features.store.offline_files", f"{ONE_WAY} features"),
        ("models/zoo/trees/lightgbm.py", "import models.evaluation.gate", f"{ONE_WAY} models"),
        ("models/registry/card.py", "import models.zoo.registry", f"{ONE_WAY} models"),
        ("serving/protocol/tensors.py", "import serving.inference.core", f"{ONE_WAY} serving"),
        ("serving/client/client.py", "import serving.inference.core", f"{ONE_WAY} serving"),
        ("serving/server/gateway.py", "import serving.server.http.http_edge", "HTTP and gRPC meet"),
        ("trading/execution/netting.py", "import trading.engine", f"{ONE_WAY} trading"),
        ("trading/risk/risk_check.py", "import trading.brokers.paper", f"{ONE_WAY} trading"),
        ("rollouts/evidence/layers.py", "import rollouts.controller", f"{ONE_WAY} rollouts"),
        ("rollouts/validation/power.py", "import rollouts.operations", f"{ONE_WAY} rollouts"),
        ("monitoring/drift/calibration.py", "import monitoring.retrain_trigger", f"{ONE_WAY} monitoring"),
        ("cli/reports/run_report.py", "import cli.demo.scenario", f"{ONE_WAY} the command line"),
    ],
)
def test_a_broken_contract_is_found(small_house: Path, path: str, source: str, contract: str) -> None:
    """Each contract, broken on purpose, fails and is named."""
    (small_house / path).write_text(source + "\n")
    if path in {"models/registry/model_registry.py", "serving/client/client.py"}:
        # These are found through the package that uses them.
        (small_house / "serving/inference/core.py").write_text("import models.registry.model_registry\n")
        (small_house / "trading/engine.py").write_text("import serving.client.client\n")
    result = lint_imports(small_house)
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(line.startswith(contract) for line in broken), result.stdout
