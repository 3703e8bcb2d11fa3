"""Locations of the stores: a store's own, else the common one, else a folder under home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from alphaloop.errors import SettingsError
from alphaloop.settings.data import DataSettings
from alphaloop.settings.drift import DriftSettings
from alphaloop.settings.features import FeatureSettings
from alphaloop.settings.paths import Paths
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.storage import StorageSettings


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
    def of(
        cls,
        paths: Paths,
        storage: StorageSettings,
        data: DataSettings,
        features: FeatureSettings,
        serving: ServingSettings,
        drift: DriftSettings,
    ) -> Self:
        """Derive the locations from the sections of the settings.

        Raises `SettingsError` where `features.location` and `features.offline` differ.
        """
        if features.location and features.offline and features.location != features.offline:
            raise SettingsError(
                f"features.location '{features.location}' and features.offline '{features.offline}' are two "
                "names of one setting; set features.location alone"
            )

        def chosen(own: str, at_home: Path) -> str:
            if own:
                return own if "://" in own else str(Path(own).resolve())
            if not storage.location:
                return str(at_home)
            common, inner = storage.location, at_home.relative_to(paths.home).as_posix()
            return f"{common}/{inner}" if "://" in common else str(Path(common).resolve() / inner)

        return cls(
            snapshots=chosen(data.location, paths.snapshots),
            offline_features=chosen(features.location or features.offline, paths.offline_features),
            prediction_log=chosen(serving.log_location, paths.prediction_log),
            drift=chosen(drift.location, paths.drift),
        )
