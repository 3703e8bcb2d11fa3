"""The loop: wiring of all packages into one running system, order lineage and audit.

Here live the turn of one bar (features, forecasts, orders, evidence, drift, retraining), the wiring that
opens it on settings (`loop.wiring`), and the audit of its journal. Nothing here prints or parses options:
the package is the library behind the command line.

In come settings and a market of past and future bars. Out go a running loop, its journal, and answers about
it: the lineage of an order, its replayed decision, the state of every hash chain.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
