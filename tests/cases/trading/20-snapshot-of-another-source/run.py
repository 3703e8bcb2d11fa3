import sys; sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lib import *
# one home, two sources: retraining and rollouts must take the bars of the settings' source.
import numpy as np
from alphaloop.settings.settings import load_settings
from marketdata.storage.snapshots import SnapshotStore
from rollouts import operations
from pipelines.steps import freeze_snapshot
import os
home = fresh("20"); os.environ["ALPHALOOP_HOME"] = str(home)
s = load_settings(); store = SnapshotStore(s.paths.snapshots)
right = store.save(panel(np.full((30, 3), 100.0), symbols=["A", "B", "C"]).to_table(), s.data.source)
store.save(panel(np.full((20, 1), 1.1), symbols=["EURUSD"], start="2017-01-01").to_table(), "eurusd-1h")
took = store.describe(freeze_snapshot(s.model_dump_json()))
verdict(took.id == right.id and operations._bars(s).symbols == ("A", "B", "C"),
        f"data.source is {s.data.source}, then bars of eurusd-1h were stored: a retraining takes '{took.source}', a rollout judges on {operations._bars(s).symbols}")
