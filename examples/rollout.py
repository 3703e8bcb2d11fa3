"""A challenger beside the champion: shadow, canary, and a verdict on evidence."""

from __future__ import annotations

from small_workspace import alphaloop, champion, server

from alphaloop import Journal, SystemClock


def main() -> None:
    """Train a challenger that knows the planted reversal, start it, trade, and read how it fared."""
    with champion() as settings:
        alphaloop("train", "lightgbm")
        alphaloop("rollout", "start", "2", "--override", "example", "--reason", "to see evidence grow")
        alphaloop("features", "materialize")
        with server(settings):
            alphaloop("trade", "--replay", "2019-07-01:2019-10-31")
        alphaloop("rollout", "status")

        with Journal(settings.paths.journal, settings.paths.anchors, SystemClock()) as journal:
            for record in journal.records("control", "rollout.transition"):
                body = record.body
                print(f"{body['state']:<8} {body['weight']:.2f}  {body['reason']}")


if __name__ == "__main__":
    main()
