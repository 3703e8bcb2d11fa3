"""The service of an exported model, as the text that is written into its Bento.

It is no module of ours: it reads the model beside it when it is imported, and imports BentoML.
"""

from __future__ import annotations

SOURCE = '''\
"""The service of an exported model: scores of a panel by ONNX Runtime, as alphaloop's own server gives them.

Written by `alphaloop export bento`; `model.onnx` and `card.json` lie beside it. Needs bentoml, numpy and
onnxruntime, and nothing of alphaloop. Serve it with: bentoml serve FOLDER
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

FOLDER = Path(__file__).parent
CARD: dict[str, Any] = json.loads((FOLDER / "card.json").read_text())


@bentoml.service(name=CARD["bento"], workers=1)
class Prediction:
    """One model version; a session has one thread."""

    def __init__(self) -> None:
        # Read once, when ONNX Runtime is imported: without it events for its vendor are queued on disk.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        content = (FOLDER / "model.onnx").read_bytes()
        if hashlib.sha256(content).hexdigest() != CARD["digest"]:
            raise RuntimeError("model.onnx does not have the digest on its card; export the model again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        # The first run plans the session's memory; it must not be a client's.
        self._score(np.zeros((2, CARD["lookback"], len(CARD["features"])), np.float32))

    @bentoml.api
    def predict(self, panel: list[list[list[float | None]]]) -> dict[str, Any]:
        """Scores of `panel`, `[symbols][lookback][features]`; null where a symbol has a value missing."""
        seen = np.array(panel, dtype=np.float32)
        expected = (CARD["lookback"], len(CARD["features"]))
        if seen.ndim != 3 or seen.shape[1:] != expected:
            raise bentoml.exceptions.InvalidArgument(
                f"panel has shape {list(seen.shape)}; it is [symbols, {expected[0]}, {expected[1]}]"
            )
        scores = self._score(seen)
        return {
            "model": CARD["model"],
            "version": CARD["version"],
            "digest": CARD["digest"],
            "scores": [float(one) if np.isfinite(one) else None for one in scores],
            "statuses": ["ok" if np.isfinite(one) else "missing" for one in scores],
        }

    def _score(self, panel: Any) -> Any:
        finite = np.isfinite(panel).all(axis=(1, 2))
        scores = np.full(len(panel), np.nan, np.float32)
        if finite.any():
            scores[finite] = self.session.run(["scores"], {"panel": panel[finite]})[0]
        return scores
'''
