"""Sources of market data, one file a venue.

A source is a module in this package that defines `SOURCE`, an object with a `name`, a one-line
`description`, a `calendar` and `history(symbols, start, end, frequency)`. Dropping a file in here is
all it takes: `features.sources.registry` finds it by name.

Each vendor's SDK is imported in its own file and nowhere else, and only when it is used.
"""
