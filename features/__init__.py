"""Features: bars become the inputs of models.

Holds the formula language, the operator engine, the indicators (one definition for batch and stream),
feature sets, their computation and selection, and the Feast store with its single writer.

Must not hold market data sources, labels of models, models or orders, and must never read a bar that has
not closed.

Bars enter as `alphaloop.bars.BarPanel` or `Slice` from `marketdata`. `FeatureFrame`s leave for training,
float32 windows leave for serving through `features.store.online_reader`.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
