"""A registry with small ONNX graphs, an online store with one bar, and a server core on top of both."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.bars import BarPanel, to_datetime64
from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.rollout_document import RolloutDocument
from alphaloop.runtime.processes import free_port
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from features.compute.batch import backfill
from features.feature_set import FeatureSet
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer
from models.registry.card import Card
from models.registry.model_registry import Registry
from serving.client.async_client import AsyncPredictionClient
from serving.client.client import PredictionClient
from serving.inference.core import InferenceCore
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow

FEATURES = FeatureSet(("return_1", "return_5", "volatility_10"))
SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
LOOKBACK, WINDOW, BARS = 2, 16, 60
BAR = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)
SNAPSHOT = "snapshot-1"


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
    return bytes(model.SerializeToString())


def card_of(model: str, content: bytes, **changes: Any) -> Card:
    """A card that fits `content`."""
    values: dict[str, Any] = {
        "model": model,
        "family": "linear",
        "parameters": {},
        "feature_set": FEATURES.hash,
        "features": FEATURES.names,
        "inputs": ("panel",),
        "lookback": LOOKBACK,
        "horizon": 5,
        "score_kind": "zscore",
        "cross_sectional": False,
        "snapshot": "s" * 64,
        "train_first": "2010-01-04",
        "train_last": "2018-12-31",
        "pipeline_run": None,
        "code_revision": "test",
        "seed": 1,
        "walk_forward": (),
        "metrics": {},
        "ranges": {},
        "fidelity": {},
        "gate": {"passed": True, "reasons": []},
        "digest": hashlib.sha256(content).hexdigest(),
        "created_at": "2019-01-01T00:00:00+00:00",
    }
    return Card(**values | changes)


def random_bars() -> BarPanel:
    """Closes of a random walk, the last at `BAR`."""
    steps = np.random.default_rng(7).normal(0, 0.01, (BARS, len(SYMBOLS)))
    close = 100 * np.exp(np.cumsum(steps, axis=0))
    days = np.arange(1 - BARS, 1).astype("timedelta64[D]")
    nothing = np.full_like(close, np.nan)
    return BarPanel(
        timestamps=to_datetime64(BAR) + days,
        symbols=SYMBOLS,
        open=nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones_like(close),
    )


@dataclass(frozen=True)
class World:
    """A home folder with a registry and an online store that holds `BAR` of `SYMBOLS`.

    `panel` is what the store holds, float32 `[symbols, WINDOW, features]`, made of `bars`.
    """

    home: Path
    registry: Registry
    panel: npt.NDArray[np.float32]
    bars: BarPanel
    features: FeatureSet = FEATURES
    symbols: tuple[str, ...] = SYMBOLS
    bar: datetime = BAR
    snapshot: str = SNAPSHOT
    feature_set: str = FEATURES.hash

    def settings(self, **serving: Any) -> Settings:
        """Settings of this home; the registry is polled once a minute, and nobody waits for a drain."""
        quiet = {"poll_seconds": 60.0, "http_port": 0, "metrics_port": 0, "drain_seconds": 0.0}
        return Settings(home=self.home, serving=ServingSettings(**quiet | serving))

    def last(self, feature: int) -> list[float]:
        """One feature at the bar, symbol by symbol."""
        return [float(value) for value in self.panel[:, -1, feature]]


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

    def clear(self) -> None:
        """Take the model out of the registry: a server reads all that there are, when it starts and on."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.registry.uri, registry_uri=self.registry.uri)
        if client.search_registered_models(f"name='{self.name}'"):
            client.delete_registered_model(self.name)


@dataclass
class Served:
    """A running core and the log of the model it serves."""

    core: InferenceCore
    world: World
    model: str
    seen: PredictionLogReader

    def rows(self, count: int) -> list[PredictionRow]:
        """The next rows of the log, once there are `count`."""
        rows: list[PredictionRow] = []
        deadline = monotonic() + 5
        while len(rows) < count and monotonic() < deadline:
            sleep(0.01)
            rows += self.seen.new()
        return rows


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One home for all tests: each has a model of its own name in it."""
    home = tmp_path_factory.mktemp("serving")
    settings, bars = Settings(home=home), random_bars()
    with Streamer(settings.paths.feast, FEATURES, SYMBOLS, bars, WINDOW, SystemClock()) as streamer:
        streamer.materialize(SNAPSHOT)
    panel = backfill(bars, FEATURES).window(BARS - 1, WINDOW)
    return World(home, Registry(settings.paths.registry), panel, bars)


@pytest.fixture
def bars() -> BarPanel:
    """What the windows of `world` are made of."""
    return random_bars()


@pytest.fixture
def card() -> Callable[..., Card]:
    """Makes a card that fits a file."""
    return card_of


@pytest.fixture
def linear() -> Callable[..., bytes]:
    """Makes a file whose scores are the last row times weights."""
    return linear_onnx


@pytest.fixture(scope="module")
def module_shelf(world: World) -> Iterator[ModelShelf]:
    """A model without versions, for the tests of one module."""
    shelf = ModelShelf(world.registry)
    yield shelf
    shelf.clear()


@pytest.fixture
def shelf(world: World) -> Iterator[ModelShelf]:
    """A model without versions."""
    shelf = ModelShelf(world.registry)
    yield shelf
    shelf.clear()


@pytest.fixture
def serve(world: World) -> Iterator[Callable[..., Served]]:
    """Starts a core for a shelf, with serving settings as given."""
    with ExitStack() as stack:

        def start(shelf: ModelShelf, registry: Registry | None = None, **serving: Any) -> Served:
            settings = world.settings(**{"model": shelf.name} | serving)
            folder = settings.paths.prediction_log
            reader = OnlineReader(settings.paths.feast)
            core = InferenceCore(settings, registry or shelf.registry, reader, PredictionLog(folder))
            core.start()
            stack.callback(core.close)
            return Served(core, world, shelf.name, PredictionLogReader(folder, shelf.name))

        yield start


class Replica(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A server that speaks the protocol and fails as it is told; it counts what it is asked and given up."""

    def __init__(self, score: float) -> None:
        self.score, self.asked, self.given_up, self.metadata = score, 0, 0, {}
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.delay, self.pushback_ms, self.url = 0.0, "30", ""
        self.going_on = threading.Event()
        self._server: Any = None

    def start(self, port: int = 0, credentials: Any = None) -> str:
        """Listen on a port of loopback; returns the url."""
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.url = f"127.0.0.1:{port or free_port()}"
        if credentials is None:
            self._server.add_insecure_port(self.url)
        else:
            self._server.add_secure_port(self.url, credentials)
        self._server.start()
        return self.url

    def stop(self) -> None:
        """Break off what is under way."""
        self.going_on.set()
        self._server.stop(0).wait()

    def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name == "m")

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.asked += 1
        self.metadata = dict(context.invocation_metadata())
        if self.delay:
            self.going_on.wait(self.delay if context.add_callback(self._ended) else 0)
        if self.failures:
            code, details = self.failures.pop(0)
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback_ms),))
            context.abort(code, details)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name="scores", datatype="FP32", shape=[1])
        answer.raw_output_contents.append(np.array([self.score], "<f4").tobytes())
        return answer

    def _ended(self) -> None:
        self.given_up += not self.going_on.is_set()


@pytest.fixture
def replicas() -> Iterator[Callable[[float], Replica]]:
    """Makes replicas by the score that they give; those that were started are stopped."""
    made: list[Replica] = []

    def make(score: float) -> Replica:
        made.append(Replica(score))
        return made[-1]

    yield make
    for one in made:
        if one.url:
            one.stop()


@pytest.fixture
def pair(replicas: Any) -> tuple[Replica, Replica, list[str]]:
    """Two replicas and their urls."""
    first, second = replicas(1.0), replicas(2.0)
    return first, second, [first.start(), second.start()]


class Awaited:
    """An async client as tests use one that blocks: each call runs the event loop until its answer."""

    def __init__(self, *arguments: Any, make: Any = AsyncPredictionClient, **options: Any) -> None:
        async def made() -> AsyncPredictionClient:
            return make(*arguments, **options)

        self._runner = asyncio.Runner()
        try:
            self._client = self._runner.run(made())
        except BaseException:
            self._runner.close()
            raise

    @classmethod
    def from_settings(cls, *arguments: Any) -> Awaited:
        return cls(*arguments, make=AsyncPredictionClient.from_settings)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return (lambda *a, **k: self._runner.run(found(*a, **k))) if callable(found) else found

    def __enter__(self) -> Awaited:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture
def awaited() -> type[Awaited]:
    """The async client, used as one that blocks."""
    return Awaited


@pytest.fixture(params=[PredictionClient, Awaited], ids=["blocking", "async"])
def make_client(request: pytest.FixtureRequest) -> Any:
    """Each kind of client, used in the same way."""
    return request.param


@pytest.fixture
def count_runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Makes a loaded version keep the number of symbols of each of its runs, from now on."""

    def counted(loaded: Any) -> list[int]:
        sizes: list[int] = []
        run = loaded._run

        def counting(panel: Any) -> Any:
            sizes.append(len(panel))
            return run(panel)

        monkeypatch.setattr(loaded, "_run", counting)
        return sizes

    return counted
