from .catalogue import find as find
from .catalogue import names as names
from .compute.batch import FeatureFrame as FeatureFrame
from .compute.batch import backfill as backfill
from .compute.stream import FeatureStream as FeatureStream
from .compute.vintage_backfill import backfill_by_vintage as backfill_by_vintage
from .compute.vintage_stream import VintageStream as VintageStream
from .engine.indicator import Indicator as Indicator
from .engine.indicator import indicator as indicator
from .engine.operators.recursive import Recursive as Recursive
from .engine.operators.window import Window as Window
from .engine.warmup import warmup as warmup
from .feature_set import Feature as Feature
from .feature_set import FeatureSet as FeatureSet
from .feature_set import feature_set_of as feature_set_of
from .formula.formula_error import FormulaError as FormulaError
from .notebook import frame_bars as frame_bars
from .parity import measure as measure
from .selection.generation import generate as generate
from .selection.selection import Selected as Selected
from .selection.selection import select as select
from .store.feature_store import FeatureStore as FeatureStore
from .store.online import OnlineReader as OnlineReader
from .store.online import OnlineWindows as OnlineWindows
from .store.streamer import Streamer as Streamer

__all__ = [
    "Feature",
    "FeatureFrame",
    "FeatureSet",
    "FeatureStore",
    "FeatureStream",
    "FormulaError",
    "Indicator",
    "OnlineReader",
    "OnlineWindows",
    "Recursive",
    "Selected",
    "Streamer",
    "VintageStream",
    "Window",
    "backfill",
    "backfill_by_vintage",
    "feature_set_of",
    "find",
    "frame_bars",
    "generate",
    "indicator",
    "measure",
    "names",
    "select",
    "warmup",
]
