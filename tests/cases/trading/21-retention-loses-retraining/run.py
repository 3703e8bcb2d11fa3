import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# the monitor counts matured labels in the prediction log alone: with a shorter log the request never comes; with a moving start one alarm becomes many.
import numpy as np, os
from datetime import datetime, timedelta, UTC
from alphaloop.clock import SystemClock
from alphaloop.journal.store import Journal
from alphaloop.settings.drift import DriftSettings
from alphaloop.settings.settings import load_settings
from monitoring.drift.calibration import fit_calibration
from monitoring.drift.drift_monitor import DriftMonitor
from monitoring.retrain_policy import make_retrain_policy
from monitoring.retrain_trigger import DriftWatch
home = fresh("21"); os.environ["ALPHALOOP_HOME"] = str(home); s = load_settings()
rng = np.random.default_rng(0); names = tuple(f"f{i}" for i in range(6))
cal = fit_calibration(rng.normal(size=(1500, 20, 6)).astype("f4"), names, DriftSettings())
t0 = datetime(2020, 1, 1, tzinfo=UTC)
log = [(t0 + timedelta(i), (rng.normal(size=(20, 6)) + (3 if i >= 30 else 0)).astype("f4")) for i in range(140)]
def days(keep, name):
    j = Journal(home / f"{name}.db", home / f"{name}.anchors", SystemClock()); count = {"drift.alarm": 0, "retrain.request": 0}
    for end in range(20, 140):                     # `monitor --once` every day, on what the log still has
        w = DriftWatch(model="m", monitor=DriftMonitor(cal), journal=j, policy=make_retrain_policy(s))
        for at, x in log[max(0, end - keep):end]:
            for news in w.on_bar(at, x): count[news["kind"]] += 1
    return count
whole, month = days(10**6, "whole"), days(40, "month")
verdict(whole == month, f"120 daily looks at one lasting change; whole log: {whole}; log of 40 bars: {month}")
