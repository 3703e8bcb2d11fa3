"""Export of a model version as a Bento, built by BentoML in a child process.

The child keeps BentoML's store, which BentoML creates wherever it is imported, in a temporary folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alphaloop.errors import MissingPartError, VendorError
from alphaloop.runtime.processes import child_environment
from serving.exports.bento_source import SERVICE_SOURCE
from serving.exports.exported_version import ExportedVersion, atomic_folder, require_new_folder

PACKAGES = ("bentoml", "numpy", "onnxruntime")
MAX_BUILD_SECONDS = 300


def export_bento(exported: ExportedVersion, folder: Path) -> Path:
    """Build a Bento of a model version; `bentoml serve FOLDER` serves it.

    Parameters
    ----------
    exported : ExportedVersion
        Version to export.
    folder : Path
        Folder of the Bento; must not exist, or be empty.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    MissingPartError
        If BentoML is not installed.
    VendorError
        If BentoML fails; holds the end of its output.
    InputError
        If the folder is not empty or cannot be written.
    """
    require_new_folder(folder)
    try:
        requirements = [f"{name}=={version(name)}" for name in PACKAGES]
    except PackageNotFoundError as error:
        raise MissingPartError(f"a Bento needs {error.name}; install it: pip install {error.name}") from error
    with tempfile.TemporaryDirectory(prefix="alphaloop-bento-") as scratch:
        context, home = Path(scratch) / "context", Path(scratch) / "home"
        _write_context(exported, context, requirements)
        _build(context, home)
        # One Bento was built: <home>/bentos/<name>/<version>.
        (built,) = [path for path in (home / "bentos").glob("*/*") if path.is_dir()]
        with atomic_folder(folder) as unfinished:
            shutil.copytree(built, unfinished, dirs_exist_ok=True)
    return folder.resolve()


def _write_context(exported: ExportedVersion, context: Path, requirements: list[str]) -> None:
    context.mkdir()
    (context / "service.py").write_text(SERVICE_SOURCE)
    (context / "model.onnx").write_bytes(exported.onnx)
    card = json.loads(exported.card.to_json())
    card |= {"model": exported.model, "version": exported.version, "bento": exported.safe_name}
    (context / "card.json").write_text(json.dumps(card, sort_keys=True, indent=1))
    described = {
        "service": "service:Prediction",
        "name": exported.safe_name,
        "labels": {"model-version": exported.version, "digest": exported.card.digest[:40]},
        "include": ["service.py", "model.onnx", "card.json"],
        "python": {"packages": requirements, "lock_packages": False},
    }
    # JSON is YAML too.
    (context / "bentofile.yaml").write_text(json.dumps(described, indent=1))


def _build(context: Path, home: Path) -> None:
    home.mkdir()
    environment = child_environment({"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"})
    command = [sys.executable, "-m", "bentoml", "build", "--version", "exported", "."]
    try:
        done = subprocess.run(
            command,
            cwd=context,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MAX_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise VendorError(f"bentoml did not build the Bento within {MAX_BUILD_SECONDS} s") from error
    if done.returncode:
        raise VendorError(f"bentoml could not build the Bento: {(done.stderr or done.stdout).strip()[-800:]}")
