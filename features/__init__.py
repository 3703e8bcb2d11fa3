"""Features: where market data comes in and becomes what models see.

Here live the sources (`features.sources`, one file a venue), data quality, content-hashed
snapshots, the catalogue (one definition for batch and stream), the Feast store and its one writer,
the streamer.

No label, no model and no order lives here, and nothing here ever reads a bar that has not closed.

Bars come in (`features.sources`), snapshots and float32 windows go out (`features.store`).
"""
