"""The import contracts of pyproject.toml hold, and each can be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alphaloop.runtime.package_roots import ROOMS

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("features/store/feature_store.py", "features/compute/batch.py", "models/registry/model_registry.py", "models/registry/card.py",
           "models/training/train.py", "serving/client/client.py", "serving/inference/core.py")  # fmt: skip


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
    """Empty rooms under the real contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    for module in MODULES:
        (tmp_path / module).touch()
    return tmp_path


def test_rooms_keep_the_contracts() -> None:
    """Imports run one way, and serving, trading and control import only what they may."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_is_allowed_passes(small_house: Path) -> None:
    """Serving may use the store and the registry, trading the client, control what lies below."""
    (small_house / "serving/inference/core.py").write_text(
        "import features.store.feature_store\nimport models.registry.model_registry\nimport models.registry.card\n"
    )
    (small_house / "trading/engine.py").write_text(
        "import serving.client.client\nimport features.compute.batch\n"
    )
    (small_house / "rollouts/evidence/evidence_ledger.py").write_text(
        "import models.training.train\nimport trading\n"
    )
    result = lint_imports(small_house)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "source", "contract"),
    [
        ("alphaloop/costs.py", "import features", "Imports run one way"),
        ("features/compute/batch.py", "import models.registry.model_registry", "Imports run one way"),
        ("models/training/train.py", "import serving.inference.core", "Imports run one way"),
        ("serving/inference/core.py", "import trading", "Imports run one way"),
        ("rollouts/evidence/evidence_ledger.py", "import console", "Imports run one way"),
        ("pipelines/catalogue.py", "import console", "Imports run one way"),
        ("serving/inference/core.py", "import features.compute.batch", "Serving reads the feature store"),
        ("serving/inference/core.py", "import models.training.train", "Serving reads the feature store"),
        ("serving/inference/core.py", "import torch", "Serving carries no training library"),
        ("models/registry/model_registry.py", "import lightgbm", "Serving carries no training library"),
        ("trading/engine.py", "import models.registry.model_registry", "Trading knows no model"),
        ("trading/engine.py", "import serving.inference.core", "Trading knows no model"),
        ("serving/client/client.py", "import ray", "Trading carries no Ray"),
        (
            "rollouts/evidence/evidence_ledger.py",
            "def f():\n    import pipelines",
            "Control starts no pipeline",
        ),
        ("rollouts/evidence/evidence_ledger.py", "import kfp", "Control starts no pipeline"),
    ],
)
def test_a_broken_contract_is_found(small_house: Path, path: str, source: str, contract: str) -> None:
    """Each contract, broken on purpose, fails and is named."""
    (small_house / path).write_text(source + "\n")
    if path in {"models/registry/model_registry.py", "serving/client/client.py"}:
        # These are found through the room that uses them.
        (small_house / "serving/inference/core.py").write_text("import models.registry.model_registry\n")
        (small_house / "trading/engine.py").write_text("import serving.client.client\n")
    result = lint_imports(small_house)
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(line.startswith(contract) for line in broken), result.stdout
