"""The core: market and trading values, and the plain maths that packages share.

Here live bars, instruments, orders, forecasts, allocation (scores to weights), costs, the clock, errors,
statistics, decisions about a book, settings, telemetry, the journal, and the building blocks of HTML reports.

The core imports no other package of alphaloop. No model, feature, broker or server lives here, and only
`alphaloop.clock` reads the time.

Settings come in from the environment and a file; the caller passes everything else as arguments. Values
(frozen dataclasses), results of pure functions, and the append-only journal go out.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)

__version__ = "0.2.0"
