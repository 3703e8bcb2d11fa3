"""Repository folder for Feast's own command and pages, made from the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alphaloop.errors import MissingStateError
from alphaloop.runtime.atomic_file import replace_file
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.settings import Settings
from features.store.feast.connection import feast_configuration
from features.store.feature_store import FeatureStore
from features.store.online_address import online_address

CONFIGURATION_FILE, DEFINITIONS_FILE, FEATURES_FILE = "feature_store.yaml", "definitions.py", "features.json"
_PROGRAM = '''"""What Feast is told of the feature set in features.json. Made by: alphaloop features repo."""

from pathlib import Path

from features.store.feast.folder import definitions_of

globals().update({f"defined_{place}": one for place, one in enumerate(definitions_of(Path(__file__).parent))})
'''


def write_repository(settings: Settings, folder: Path | None = None) -> Path:
    """Write a Feast repository of the settings' feature set into `folder`; return the folder.

    By default it lies beside Feast's registry. `feast -c FOLDER apply`, `feast -c FOLDER ui` and other
    commands then work on the store that serving reads. No credentials are written: those of Redis come from
    `REDIS_PASSWORD`.
    """
    import yaml

    folder = (folder or settings.paths.feast / "repo").resolve()
    store = settings.paths.feast.resolve()
    wanted = settings.features
    configuration_text = yaml.safe_dump(
        feast_configuration(store, online_address(wanted.online)), sort_keys=False
    )
    choice = wanted.model_dump(mode="json", include={"set", "formulas", "files"})
    choice["files"] = [str(Path(file).resolve()) for file in wanted.files]
    choice |= {"store": str(store), "offline": settings.locations.offline_features}
    text = json.dumps(choice, indent=2, sort_keys=True) + "\n"
    for name, content in (
        (CONFIGURATION_FILE, configuration_text),
        (DEFINITIONS_FILE, _PROGRAM),
        (FEATURES_FILE, text),
    ):
        _write(folder / name, content)
    return folder


def definitions_of(folder: Path) -> list[Any]:
    """Return the Feast definitions of the set in `folder`, which `write_repository` made."""
    file = folder / FEATURES_FILE
    if not file.is_file():
        raise MissingStateError(f"there is no {file}; make it with: alphaloop features repo")
    choice = json.loads(file.read_text(encoding="utf-8"))
    store = Path(choice.pop("store"))
    settings = Settings(home=store.parent, features=FeatureSettings(**choice))
    defined = FeatureStore.from_settings(settings)
    # Feast deletes what is missing from an apply, and a streamer may be writing further views now.
    return defined.definitions(defined.further)


def _write(path: Path, content: str) -> None:
    replace_file(path, lambda partial: partial.write_text(content, encoding="utf-8"))
