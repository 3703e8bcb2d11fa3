"""The core: market, order and forecast values, and the plain maths that every package shares.

Here live bars, instruments, orders, forecasts, allocation (scores to weights), costs, the clock, errors,
statistics, decisions about a book, settings, telemetry, the journal, and the building blocks of HTML reports.

The core imports no other package of alphaloop. No model, feature, broker or server lives here, and only
`alphaloop.clock` reads the time.

Settings come in from the environment and a file; everything else is given by the caller. Values (frozen
dataclasses), results of pure functions, and the append-only journal go out.
"""
