"""The ground: the nouns and plain maths that every room shares.

Here live the market (`Bar`, `Instrument`), orders, the forecast, allocation (scores to weights to
orders, pure functions), costs, the clock, errors, settings, telemetry, the journal, and the shell
and charts of reports.

Nothing of ours is imported here: the ground knows no room. No model, no feature, no broker and no
server lives here, and nothing but `alphaloop.clock` reads the time.

In comes nothing; out go values (frozen dataclasses), pure functions, and the append-only journal.
"""
