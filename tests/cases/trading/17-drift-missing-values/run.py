import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# evidently#187, #1480: a feature that goes missing live is a change of its distribution; somebody must say so.
import numpy as np
from datetime import datetime, timedelta, UTC
from alphaloop.settings.drift import DriftSettings
from monitoring.drift.calibration import fit_calibration
from monitoring.drift.drift_monitor import DriftMonitor
rng = np.random.default_rng(0)
names = tuple(f"f{i}" for i in range(6))
cal = fit_calibration(rng.normal(size=(1500, 20, 6)).astype("f4"), names, DriftSettings())
def looks(live):
    m = DriftMonitor(cal); t = datetime(2020, 1, 1, tzinfo=UTC)
    return [x for x in (m.observe(t + timedelta(i), row.astype("f4")) for i, row in enumerate(live)) if x]
live = rng.normal(size=(40, 20, 6)); gone = live.copy(); gone[5:, :, :4] = np.nan
all_gone = np.full_like(live, np.nan)
half = live.copy(); half[5:, :11, :] = np.nan
say = {n: (sum(x.alarm for x in l), max(x.share for x in l)) for n, l in dict(four_of_six_gone=looks(gone), all_gone=looks(all_gone), half_the_symbols=looks(half), shifted=looks(live + 3)).items()}
verdict(say["four_of_six_gone"][0] > 0 and say["all_gone"][0] > 0, f"alarms and greatest share of drifted features: {say}")
