"""Sources of market data, one file a venue.

A source is a module in this package that defines `SOURCE`, an object with a `name`, a one-line
`description`, a `calendar` and `history(symbols, start, end, frequency)`. Dropping a file in here is
all it takes: `marketdata.sources.registry` finds it by name. A venue of several files is a package whose
module `source` does the same; one door to many venues defines `FAMILY`, whose sources are `prefix:name`.

Each vendor's SDK is imported in its own file and nowhere else, and only when it is used.
"""
