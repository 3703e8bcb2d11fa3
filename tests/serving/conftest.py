"""A registry with small ONNX graphs, and a server core on top of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from alphaloop.errors import StaleFeaturesError
from alphaloop.prediction import SymbolStatus
from alphaloop.rollout import RolloutDocument
from alphaloop.settings import ServingSettings, Settings
from models.card import Card
from models.registry import Registry
from serving.core import InferenceCore
from serving.prediction_log import PredictionLog, PredictionLogReader, PredictionRow

NAMES = ("momentum", "reversal", "volatility")
SYMBOLS = ("AAPL", "KO", "XOM")
LOOKBACK = 2
BAR = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)
FEATURE_SET = "f" * 64


def linear_onnx(*weights: float, lookback: int = LOOKBACK, root: bool = False) -> bytes:
    """Scores are the last row times `weights`; with `root` the square root, NaN where that is negative."""
    nodes = [
        helper.make_node("Gather", ["panel", "last"], ["row"], axis=1),
        helper.make_node("MatMul", ["row", "weights"], ["dot" if root else "scores"]),
    ]
    if root:
        nodes.append(helper.make_node("Sqrt", ["dot"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("panel", TensorProto.FLOAT, ["symbols", lookback, len(weights)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["symbols"])],
        [
            numpy_helper.from_array(np.array(lookback - 1, np.int64), "last"),
            numpy_helper.from_array(np.array(weights, np.float32), "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def card_of(model: str, content: bytes, **changes: Any) -> Card:
    """A card that fits `content`."""
    values: dict[str, Any] = {
        "model": model, "family": "linear", "parameters": {}, "feature_set": FEATURE_SET, "features": NAMES,
        "inputs": ("panel",), "lookback": LOOKBACK, "horizon": 5, "score_kind": "zscore",
        "cross_sectional": False, "snapshot": "s" * 64, "train_first": "2010-01-04",
        "train_last": "2018-12-31",
        "pipeline_run": None, "code_revision": "test", "seed": 1, "walk_forward": (), "metrics": {},
        "ranges": {}, "fidelity": {}, "gate": {"passed": True, "reasons": []},
        "digest": hashlib.sha256(content).hexdigest(), "created_at": "2019-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Card(**values | changes)


@dataclass(frozen=True)
class Windows:
    """What the online store answers."""

    panel: npt.NDArray[np.float32]
    statuses: tuple[SymbolStatus, ...]
    feature_timestamp: datetime
    snapshot: str
    feature_set: str


@dataclass
class Reader:
    """An online store that holds one bar."""

    values: dict[str, npt.NDArray[np.float32]]
    bar: datetime = BAR
    feature_set: str = FEATURE_SET

    def read(self, symbols: tuple[str, ...], as_of: datetime, lookback: int) -> Windows:
        if as_of != self.bar:
            raise StaleFeaturesError(f"the online store holds {self.bar}, age {as_of - self.bar}")
        missing = np.full((lookback, len(NAMES)), np.nan, np.float32)
        panel = np.stack([self.values.get(one, missing)[-lookback:] for one in symbols])
        statuses = tuple(SymbolStatus.OK if one in self.values else SymbolStatus.MISSING for one in symbols)
        return Windows(panel, statuses, self.bar, "snapshot-1", self.feature_set)


class ModelShelf:
    """One model in a registry: versions are added and routed as a test wants."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.name = registry, f"model-{uuid.uuid4().hex[:8]}"

    def add(self, *weights: float, root: bool = False, **changes: Any) -> str:
        """Register a version with these weights; returns its number."""
        content = linear_onnx(*weights, lookback=changes.get("lookback", LOOKBACK), root=root)
        return self.registry.register(self.name, content, card_of(self.name, content, **changes))

    def route(self, **changes: Any) -> RolloutDocument:
        """Write the next rollout document."""
        stored = self.registry.rollout(self.name)
        document = stored.next(**changes) if stored else RolloutDocument(model=self.name, **changes)
        self.registry.write_rollout(document, stored.generation if stored else None)
        return document


@dataclass
class Served:
    """A running core with its log, and the model it serves."""

    core: InferenceCore
    settings: Settings
    log: PredictionLog
    reader: Reader
    seen: PredictionLogReader = field(init=False)

    def __post_init__(self) -> None:
        self.seen = PredictionLogReader(self.settings.paths.prediction_log, self.settings.serving.model)

    def rows(self, count: int) -> list[PredictionRow]:
        """The next rows of the log, once there are `count`."""
        rows: list[PredictionRow] = []
        deadline = datetime.now(UTC) + timedelta(seconds=5)
        while len(rows) < count and datetime.now(UTC) < deadline:
            rows += self.seen.new()
        return rows


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One registry for all tests: each has a model of its own name."""
    return Registry(tmp_path_factory.mktemp("serving") / "registry")


@pytest.fixture
def shelf(registry: Registry) -> ModelShelf:
    """A model without versions."""
    return ModelShelf(registry)


@pytest.fixture
def reader() -> Reader:
    """An online store with three symbols; row by row the features count up."""
    rows = np.arange(len(SYMBOLS) * LOOKBACK * len(NAMES), dtype=np.float32)
    panel = rows.reshape(len(SYMBOLS), LOOKBACK, len(NAMES))
    return Reader(dict(zip(SYMBOLS, panel, strict=True)))


@pytest.fixture
def serve(tmp_path: Path, reader: Reader) -> Iterator[Callable[..., Served]]:
    """Starts a core for a shelf, with serving settings as given."""
    with ExitStack() as stack:

        def start(shelf: ModelShelf, registry: Registry | None = None, **serving: Any) -> Served:
            settings = Settings(
                home=tmp_path,
                serving=ServingSettings(**{"model": shelf.name, "poll_seconds": 60.0} | serving),
            )
            log = PredictionLog(settings.paths.prediction_log)
            core = InferenceCore(settings, registry or shelf.registry, reader, log)  # type: ignore[arg-type]
            core.start()
            stack.callback(core.close)
            return Served(core, settings, log, reader)

        yield start


def load(content: bytes) -> Any:
    """The parsed graph."""
    return onnx.load_model_from_string(content)
