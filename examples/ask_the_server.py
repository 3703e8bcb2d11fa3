"""A server asked by the platform's client, and by a plain client of the Open Inference Protocol."""

from __future__ import annotations

import numpy as np
import tritonclient.grpc as oip
from small_workspace import champion, server

from features import backfill, feature_set_of
from loop import latest_bars
from serving import PredictionClient


def main() -> None:
    """Ask by symbols, then with a panel of features of one's own; the scores are the same."""
    with champion() as settings, server(settings) as url:
        _, bars = latest_bars(settings)
        newest = bars.at(len(bars) - 1)

        # By symbols: the server reads the features of exactly this bar from its online store.
        with PredictionClient.from_settings(settings) as client:
            forecast = client.forecast(bars.symbols, newest.timestamp, route_key="sleeve-00")
        print(f"{forecast.model} version {forecast.version} at {forecast.as_of.date()}:")
        print({symbol: round(score, 4) for symbol, score in zip(bars.symbols, forecast.scores, strict=True)})

        # With inputs, by a client that knows nothing of this platform: panel [symbols, lookback, features].
        panel = backfill(bars, feature_set_of(settings)).window(len(bars) - 1, lookback=1)
        tensor = oip.InferInput("panel", list(panel.shape), "FP32")
        tensor.set_data_from_numpy(np.ascontiguousarray(panel, dtype=np.float32))
        plain = oip.InferenceServerClient(url)
        answer = plain.infer(settings.serving.model, [tensor]).as_numpy("scores")
        plain.close()
        print("both clients have the same scores:", bool(np.array_equal(answer, np.float32(forecast.scores))))


if __name__ == "__main__":
    main()
