"""Provenance: which providers' bars an order was decided on.

From the order to its decision, which names who gave each symbol's bar; from the decision to the
snapshots that its predictions name, whose rows name who gave the bars that the features were made of.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from alphaloop.bars import DISPUTED, PROVIDER
from alphaloop.settings.settings import Settings
from loop.audit import order_records
from marketdata.storage.snapshots import SnapshotStore


def providers(settings: Settings, order_id: str) -> dict[str, Any]:
    """The providers behind order `order_id`.

    `bar` is who gave the bar that the order's symbol was decided on ("" where only one source was in
    question), `bars` the same by symbol; `disputed` the symbols that were reduce-only because providers
    disagreed; `features` counts the rows of each snapshot that a prediction named, by provider, with how
    many of them are disputed. Rows that name no provider are of the snapshot's source. Raises
    `UnknownNameError` for an order or snapshot that is not there.
    """
    order, decision, _ = order_records(settings, order_id)
    symbols = decision.body["symbols"]
    bars = dict(zip(symbols, decision.body.get("providers", [""] * len(symbols)), strict=True))
    named = sorted({answer["snapshot"] for answer in decision.body["answers"]} - {""})
    store = SnapshotStore(settings.paths.snapshots)
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
    if PROVIDER in table.schema.names:
        for told in pc.value_counts(table[PROVIDER]).to_pylist():
            counts[told["values"] or source] = counts.get(told["values"] or source, 0) + told["counts"]
    else:
        counts[source] = table.num_rows
    disputed = pc.sum(table[DISPUTED]).as_py() if DISPUTED in table.schema.names else 0
    return {"rows": counts, "disputed": disputed or 0}
