"""Provenance: the data providers behind an order.

The order names its decision, which names the provider of each symbol's bar; the decision names the snapshots
of its predictions, whose rows name the providers of the bars behind the features.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from alphaloop.bars import DISPUTED_COLUMN, PROVIDER_COLUMN
from alphaloop.settings.settings import Settings
from loop.audit import order_records
from marketdata.storage.snapshots import SnapshotStore


def order_providers(settings: Settings, order_id: str) -> dict[str, Any]:
    """Find the data providers behind an order.

    Parameters
    ----------
    settings : Settings
        Paths of journal, anchors and snapshots.
    order_id : str
        Client order id.

    Returns
    -------
    dict
        `bar`: provider of the bar on which the order's symbol was decided ("" with a single source);
        `bars`: the same by symbol; `disputed`: symbols that were reduce-only because providers disagreed;
        `features`: for each snapshot named by a prediction, its rows by provider and the number of disputed
        rows, and the digests of its files of records (members, actions, …) by setting. Rows without a
        provider count for the snapshot's source.

    Raises
    ------
    UnknownNameError
        For an order or snapshot that does not exist.
    MissingStateError
        Where there is no journal.
    """
    order, decision, _ = order_records(settings, order_id)
    symbols = decision.body["symbols"]
    bars = dict(zip(symbols, decision.body.get("providers", [""] * len(symbols)), strict=True))
    named = sorted({answer["snapshot"] for answer in decision.body["answers"]} - {""})
    store = SnapshotStore(settings.locations.snapshots)
    return {
        "order_id": order_id,
        "as_of": decision.body["as_of"],
        "symbol": order.body["symbol"],
        "bar": bars[order.body["symbol"]],
        "bars": bars,
        "disputed": decision.body.get("disputed", []),
        "features": {snapshot: _rows(store, snapshot) for snapshot in named},
    }


def _rows(store: SnapshotStore, snapshot: str) -> dict[str, Any]:
    table, source = store.load(snapshot), store.describe(snapshot).source
    counts: dict[str, int] = {}
    if PROVIDER_COLUMN in table.schema.names:
        for group in pc.value_counts(table[PROVIDER_COLUMN]).to_pylist():
            counts[group["values"] or source] = counts.get(group["values"] or source, 0) + group["counts"]
    else:
        counts[source] = table.num_rows
    disputed = pc.sum(table[DISPUTED_COLUMN]).as_py() if DISPUTED_COLUMN in table.schema.names else 0
    return {"rows": counts, "disputed": disputed or 0, "records": store.records_of(snapshot)}
