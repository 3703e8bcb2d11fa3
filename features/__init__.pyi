from .catalogue import find_indicator as find_indicator
from .catalogue import indicator_names as indicator_names
from .compute.batch import FeatureFrame as FeatureFrame
from .compute.batch import backfill as backfill
from .compute.stream import FeatureStream as FeatureStream
from .engine.indicator import Indicator as Indicator
from .engine.indicator import indicator as indicator
from .engine.operators.recursive import Recursive as Recursive
from .engine.operators.window import Window as Window
from .engine.warmup import warmup_bars as warmup_bars
from .feature_set import Feature as Feature
from .feature_set import FeatureSet as FeatureSet
from .feature_set import feature_set_of as feature_set_of
from .formula.formula_error import FormulaError as FormulaError
from .notebook import frame_bars as frame_bars
from .parity import measure_parity as measure_parity
from .selection.generation import generate_candidates as generate_candidates
from .selection.selection import SelectionResult as SelectionResult
from .selection.selection import select_features as select_features
from .store.feature_store import FeatureStore as FeatureStore
from .store.online_reader import OnlineReader as OnlineReader
from .store.online_reader import OnlineWindows as OnlineWindows
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
    "SelectionResult",
    "Streamer",
    "Window",
    "backfill",
    "feature_set_of",
    "find_indicator",
    "frame_bars",
    "generate_candidates",
    "indicator",
    "indicator_names",
    "measure_parity",
    "select_features",
    "warmup_bars",
]
