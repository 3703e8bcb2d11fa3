"""Market data: sources of bars, quality checks, snapshots and point-in-time records.

- `sources`: one file a venue or data set; `connectors`: what venues share (retries, closed bars, trades).
- `feeds`: failover between providers and the live stream as slices; `files`: CSV and Parquet of the user's.
- `quality`: rules, findings, policies; `storage`: snapshots under the hash of their content.
- `point_in_time`: corporate actions, universes, instruments and external series as known at a time.

Bars enter from venues and files as tables of `alphaloop.bars.BARS_SCHEMA` or as live `Bar`s. Checked
slices and hashed snapshots leave. No feature is computed here, and only the core is imported.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
