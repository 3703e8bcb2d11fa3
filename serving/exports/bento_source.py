"""Source text of the service that is written into a Bento.

The text is no module of ours: the service reads the model beside it at import, and imports BentoML.
"""

from __future__ import annotations

from serving.protocol.request_limits import MAX_ELEMENTS, MAX_PANEL_SYMBOLS

_TEXT = '''\
"""Service of an exported model: scores a panel with ONNX Runtime, as alphaloop's own server does.

Written by `alphaloop export bento`; `model.onnx` and `card.json` are beside it. Needs bentoml, numpy and
onnxruntime, and nothing of alphaloop. Serve it with: bentoml serve FOLDER
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

FOLDER = Path(__file__).parent
CARD: dict[str, Any] = json.loads((FOLDER / "card.json").read_text())


MAX_SYMBOLS, MAX_ELEMENTS = {limits}


def read(panel: Any) -> Any:
    """Convert a panel to float32, null to NaN; refuses what alphaloop's own server refuses."""
    rows, width = CARD["lookback"], len(CARD["features"])
    shape = f"[symbols, {rows}, {width}]"
    if not isinstance(panel, list) or not panel:
        raise refused(f"panel is no list of symbols; its shape is {shape}")
    if len(panel) > MAX_SYMBOLS or len(panel) * rows * width > MAX_ELEMENTS:
        raise refused(f"panel has {len(panel)} symbols, more than are scored at once; send several requests")
    values = []
    for symbol in panel:
        if not isinstance(symbol, list) or len(symbol) != rows:
            raise refused(f"panel nests otherwise than its shape, which is {shape}")
        for row in symbol:
            if not isinstance(row, list) or len(row) != width:
                raise refused(f"panel nests otherwise than its shape, which is {shape}")
            values += row
    if not all(one is None or (isinstance(one, int | float) and not isinstance(one, bool)) for one in values):
        raise refused("panel holds what is no number")
    try:
        with np.errstate(over="ignore"):
            seen = np.array([math.nan if one is None else one for one in values], np.float32)
    except OverflowError:
        raise refused("panel holds a number that is too large") from None
    if np.isinf(seen).any():
        raise refused("panel is infinite in a place; send null for a missing value")
    return seen.reshape(len(panel), rows, width)


def refused(why: str) -> Exception:
    """Build the error that becomes status 400."""
    return bentoml.exceptions.InvalidArgument(why)


@bentoml.service(name=CARD["bento"], workers=1)
class Prediction:
    """Model version, in an ONNX Runtime session with one thread."""

    def __init__(self) -> None:
        # Read once, when ONNX Runtime is imported: otherwise telemetry for its vendor is queued on disk.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        content = (FOLDER / "model.onnx").read_bytes()
        if hashlib.sha256(content).hexdigest() != CARD["digest"]:
            raise RuntimeError("model.onnx does not have the digest on its card; export the model again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        # The first run plans the session's memory; no client should wait for that.
        self._score(np.zeros((2, CARD["lookback"], len(CARD["features"])), np.float32))

    @bentoml.api
    def predict(self, panel: Any) -> dict[str, Any]:
        """Score `panel`, `[symbols][lookback][features]`; null for a symbol with a missing value."""
        scores = self._score(read(panel))
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


class AsJson:
    """Middleware that treats every body as JSON, whatever its content type, as alphaloop's server does."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            others = [one for one in scope["headers"] if one[0].lower() != b"content-type"]
            scope = {**scope, "headers": [*others, (b"content-type", b"application/json")]}
        await self.application(scope, receive, send)


Prediction.add_asgi_middleware(AsJson)
'''
SERVICE_SOURCE = _TEXT.replace("{limits}", f"{MAX_PANEL_SYMBOLS}, {MAX_ELEMENTS}")
