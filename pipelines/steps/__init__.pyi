from .candidates import evaluate_version as evaluate_version
from .candidates import train_candidate as train_candidate
from .drift_findings import drift_report as drift_report
from .drift_findings import watch_drift as watch_drift
from .feature_builds import build_features as build_features
from .feature_builds import publish_features as publish_features
from .slots import claim_slot as claim_slot
from .snapshots import freeze_snapshot as freeze_snapshot
from .snapshots import update_bars as update_bars
from .verdicts import gate_verdict as gate_verdict
from .verdicts import propose as propose
from .verdicts import refuse as refuse

__all__ = [
    "build_features",
    "claim_slot",
    "drift_report",
    "evaluate_version",
    "freeze_snapshot",
    "gate_verdict",
    "propose",
    "publish_features",
    "refuse",
    "train_candidate",
    "update_bars",
    "watch_drift",
]
