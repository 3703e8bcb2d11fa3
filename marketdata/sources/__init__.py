"""Sources of market data, one file a venue.

A source is a module in this package that defines `SOURCE`, an object with a `name`, a one-line
`description`, a `calendar` and `history(symbols, start, end, frequency)`: see `marketdata.source.Source`.
A new file in this folder is all it takes: `marketdata.sources.registry` finds it by name. A venue of
several files is a package with the same content in its module `source`. A module that gives access to many
venues defines `FAMILY`, and its sources are named `prefix:name`.

Each vendor's SDK is imported in its own file only, and only when it is used.
"""
