"""Paths of a workspace: the folder of each part's state, and the location of each store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from alphaloop.errors import SettingsError

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings


class Paths:
    """The files and folders under the home folder; nothing is created here."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.snapshots = home / "data"
        self.feast = home / "feast"
        self.offline_features = self.feast / "offline"
        self.registry = home / "registry"
        self.journal = home / "journal" / "journal.db"
        self.anchors = home / "journal" / "anchors.jsonl"
        self.prediction_log = home / "predictions"
        self.pipelines = home / "pipelines"
        self.tuning = home / "tuning"
        self.drift = home / "drift"


@dataclass(frozen=True, slots=True)
class Locations:
    """Where each store is: a folder, or `s3://bucket/prefix`.

    Parameters
    ----------
    snapshots, offline_features, prediction_log, drift : str
        Location of snapshots, offline features, prediction log and calibrations.
    """

    snapshots: str
    offline_features: str
    prediction_log: str
    drift: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Derive the locations from the settings: a store's own, else `storage.location`, else `home`.

        Raises `SettingsError` where `features.location` and `features.offline` differ.
        """
        paths, features = settings.paths, settings.features
        if features.location and features.offline and features.location != features.offline:
            raise SettingsError(
                f"features.location '{features.location}' and features.offline '{features.offline}' are two "
                "names of one setting; set features.location alone"
            )

        def chosen(own: str, at_home: Path) -> str:
            if own:
                return own if "://" in own else str(Path(own).resolve())
            if not settings.storage.location:
                return str(at_home)
            shared, inner = settings.storage.location, at_home.relative_to(paths.home).as_posix()
            return f"{shared}/{inner}" if "://" in shared else str(Path(shared).resolve() / inner)

        return cls(
            snapshots=chosen(settings.data.location, paths.snapshots),
            offline_features=chosen(features.location or features.offline, paths.offline_features),
            prediction_log=chosen(settings.serving.log_location, paths.prediction_log),
            drift=chosen(settings.drift.location, paths.drift),
        )
