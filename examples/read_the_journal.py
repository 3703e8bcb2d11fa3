"""From an order in the journal back to its decision, its scores and its bars."""

from __future__ import annotations

from collections import Counter

from small_workspace import alphaloop, champion, server

from alphaloop import Journal, SystemClock
from loop import audit_journal, replay_order, trace_order


def main() -> None:
    """Trade a month on a replay, then read what the journal holds and check it."""
    with champion() as settings:
        with server(settings):
            alphaloop("trade", "--replay", "2019-07-01:2019-07-31")

        with Journal(settings.paths.journal, settings.paths.anchors, SystemClock()) as journal:
            records = list(journal.records("trading"))
        print("records by kind:", dict(Counter(record.kind for record in records)))

        for chain in audit_journal(settings):
            print(f"stream {chain.stream}: {chain.records} records, {'whole' if chain.ok else chain.problem}")

        order = next(record.body for record in records if record.kind == "order")
        name = order["client_order_id"]
        print(f"{name}: {order['side']} {order['quantity']} {order['symbol']}")
        print("the same order follows from its decision:", replay_order(settings, name)["identical"])
        for step in trace_order(settings, name).steps:
            print(f"  {step['step']:<10} {step['label']:<40} {step['value']}")


if __name__ == "__main__":
    main()
