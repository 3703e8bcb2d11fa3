"""A small workspace for the examples: eight symbols of the simulated market, a champion, a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from alphaloop import Settings, load_settings
from alphaloop.runtime.processes import free_port
from cli.main import run_command
from serving import ProcessHost

SETTINGS = """
home = "runs"
plugins = {plugins}
[data]
source = "simulated"
symbols = ["SIM00", "SIM01", "SIM02", "SIM03", "SIM04", "SIM05", "SIM06", "SIM07"]
[features]
set = ["return_1", "return_5", "return_21", "rsi_14", "volatility_21", "momentum_252_21", "rank_return_21"]
[training]
trials = 0
first_test = "0.5"
[serving]
runtime = "process"
grpc_port = {port}
http_port = 0
metrics_port = 0
"""
LAST_TRAINING_DAY = "2019-06-28"


@contextmanager
def workspace(*plugins: Path) -> Iterator[Settings]:
    """Work in a new folder with settings, and remove it at the end."""
    with TemporaryDirectory(prefix="alphaloop-example-") as folder, chdir(folder):
        named = [str(path.resolve()) for path in plugins]
        Path("alphaloop.toml").write_text(SETTINGS.format(plugins=named, port=free_port()))
        yield load_settings()


def alphaloop(*words: str) -> None:
    """Call the command as a user would: `alphaloop("train", "momentum")`."""
    print("$ alphaloop", *words)
    if code := run_command(list(words)):
        raise SystemExit(code)


@contextmanager
def champion() -> Iterator[Settings]:
    """Work in a new workspace that has a champion, with features where a server finds them."""
    with workspace() as settings:
        alphaloop("features", "build", "--until", LAST_TRAINING_DAY)
        alphaloop("train", "momentum")
        # The simulated market has a planted reversal, so the gate has no reason to let momentum pass.
        alphaloop("rollout", "crown", "1", "--override", "example", "--reason", "to have a champion")
        alphaloop("features", "materialize")
        yield settings


@contextmanager
def server(settings: Settings) -> Iterator[str]:
    """Serve the registered models from this process; yields the address of gRPC."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    host = ProcessHost(settings)
    try:
        yield host.start()
    finally:
        host.stop()
