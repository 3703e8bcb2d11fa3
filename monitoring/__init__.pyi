from .drift.calibration import Calibration as Calibration
from .drift.calibration import calibrate as calibrate
from .drift.calibration import calibrate_on as calibrate_on
from .drift.drift_monitor import DriftLook as DriftLook
from .drift.drift_monitor import DriftMonitor as DriftMonitor
from .drift.drift_monitor import write_report as write_report
from .drift_check import live_features as live_features
from .drift_check import look_once as look_once
from .drift_check import make_watch as make_watch
from .retrain_policy import RetrainPolicy as RetrainPolicy
from .retrain_trigger import DriftWatch as DriftWatch
from .retrain_trigger import cause_id as cause_id

__all__ = [
    "Calibration",
    "DriftLook",
    "DriftMonitor",
    "DriftWatch",
    "RetrainPolicy",
    "calibrate",
    "calibrate_on",
    "cause_id",
    "live_features",
    "look_once",
    "make_watch",
    "write_report",
]
