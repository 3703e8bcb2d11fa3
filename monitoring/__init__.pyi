from .drift.calibration import DriftCalibration as DriftCalibration
from .drift.calibration import fit_calibration as fit_calibration
from .drift.calibration import fit_calibration_on as fit_calibration_on
from .drift.drift_monitor import DriftMonitor as DriftMonitor
from .drift.drift_monitor import DriftResult as DriftResult
from .drift.drift_monitor import write_drift_report as write_drift_report
from .drift_check import check_drift_once as check_drift_once
from .drift_check import live_features as live_features
from .drift_check import make_drift_watch as make_drift_watch
from .retrain_policy import RetrainPolicy as RetrainPolicy
from .retrain_trigger import DriftWatch as DriftWatch
from .retrain_trigger import cause_id as cause_id

__all__ = [
    "DriftCalibration",
    "DriftMonitor",
    "DriftResult",
    "DriftWatch",
    "RetrainPolicy",
    "cause_id",
    "check_drift_once",
    "fit_calibration",
    "fit_calibration_on",
    "live_features",
    "make_drift_watch",
    "write_drift_report",
]
