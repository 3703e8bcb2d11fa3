"""Paths of a workspace: the folder of each part's state."""

from __future__ import annotations

from pathlib import Path


class Paths:
    """The files and folders under the home folder; nothing is created here."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.snapshots = home / "data"
        self.feast = home / "feast"
        self.offline_features = self.feast / "offline"
        self.registry = home / "registry"
        self.rollouts = home / "rollouts"
        self.rollouts = home / "rollouts"
        self.journal = home / "journal" / "journal.db"
        self.anchors = home / "journal" / "anchors.jsonl"
        self.prediction_log = home / "predictions"
        self.pipelines = home / "pipelines"
        self.tuning = home / "tuning"
        self.drift = home / "drift"
