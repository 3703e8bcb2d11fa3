"""Features: where bars become what models see.

Here live the formula language, the engine of operators, the indicators (one definition for batch and stream),
feature sets, their computation and selection, and the Feast store with its one writer, the streamer.

No source of bars, no label, no model and no order lives here, and nothing here ever reads a bar that has not
closed.

Bars come in from `marketdata`; float32 windows go out (`features.store.online`).
"""
