"""Soak: minutes of steady load leave memory and file descriptors where they were.

`SOAK_SECONDS=20 pytest -m long tests/serving/test_serving_soak.py` is the short form.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
from tritonclient import grpc as triton
from tritonclient import http as triton_http

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import child_environment, free_port

SERVE = """
import sys
from alphaloop.settings.settings import Settings
from serving.hosts.process import ProcessHost
ProcessHost(Settings.model_validate_json(sys.argv[1])).run_forever(lambda url: print(url, flush=True))
"""

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SAMPLES = 60
# Growth over the whole of the test that counts as flat, of what there was at its start.
FLAT = 0.05


@dataclass
class Load:
    """Clients that ask until they are told to stop."""

    stop: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    problems: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def run(self, ask: Any) -> None:
        """Ask in a thread of its own, without a pause."""

        def loop() -> None:
            while not self.stop.is_set():
                try:
                    ask()
                    self.answered += 1
                except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
                    self.problems.append(repr(error))
                    return

        self.threads.append(threading.Thread(target=loop))
        self.threads[-1].start()

    def end(self) -> None:
        """Stop, and wait."""
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def child(world: Any, shelf: Any) -> Iterator[tuple[psutil.Process, Any]]:
    """A server in a process of its own, and its settings."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    settings = world.settings(
        model=shelf.name, grpc_port=free_port(), http_port=free_port(), metrics_port=free_port()
    )
    command = [sys.executable, "-c", SERVE, settings.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as started:
        assert started.stdout is not None
        assert started.stdout.readline().strip()
        yield psutil.Process(started.pid), settings.serving
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) == 0


def slope(values: list[float]) -> float:
    """Growth over all of `values` by the line of Theil and Sen, of the first of them.

    The median of all slopes between two samples: a step of the allocator moves it little.
    """
    samples, count = np.array(values), len(values)
    first, second = np.triu_indices(count, 1)
    slopes = (samples[second] - samples[first]) / (second - first)
    return float(np.median(slopes) * (count - 1) / samples[0])


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
def test_memory_and_descriptors_stay_flat(child: tuple[psutil.Process, Any], world: Any, shelf: Any) -> None:
    """Requests over gRPC and HTTP, by panel, by symbols and wrong ones, on lasting and new connections,
    with metrics scraped: the lines through memory, descriptors and threads are flat.
    """
    process, serving = child
    load, url, http = Load(), f"127.0.0.1:{serving.grpc_port}", f"127.0.0.1:{serving.http_port}"
    panel = triton.InferInput("panel", [20, 2, 3], "FP32")
    panel.set_data_from_numpy(np.ones((20, 2, 3), np.float32))
    symbols = triton.InferInput("symbols", [20], "BYTES")
    symbols.set_data_from_numpy(np.array(world.symbols, dtype=np.object_))
    as_of = {"as_of": world.bar.isoformat()}
    http_panel = triton_http.InferInput("panel", [20, 2, 3], "FP32")
    http_panel.set_data_from_numpy(np.ones((20, 2, 3), np.float32))

    def fresh() -> None:
        with triton_http.InferenceServerClient(http) as made:
            made.infer(shelf.name, [http_panel])
            assert not made.is_model_ready("nothing")
        with urlopen(f"http://127.0.0.1:{serving.metrics_port}/metrics", timeout=10) as page:
            assert page.read()
        sleep(0.02)

    with triton.InferenceServerClient(url) as client:
        load.run(lambda: client.infer(shelf.name, [panel]))
        load.run(lambda: client.infer(shelf.name, [symbols], parameters=as_of))
        load.run(fresh)
        sleep(min(30.0, SECONDS / 4))
        memory, descriptors, threads = [], [], []
        started = monotonic()
        for number in range(1, SAMPLES + 1):
            sleep(max(0.0, started + number * SECONDS / SAMPLES - monotonic()))
            memory.append(float(process.memory_full_info().uss))
            descriptors.append(float(process.num_fds()))
            threads.append(float(process.num_threads()))
        load.end()
    growth = {"memory": slope(memory), "descriptors": slope(descriptors), "threads": slope(threads)}
    print(f"{load.answered:,} answers in {SECONDS:g} s; growth {growth}")
    assert load.problems == []
    assert load.answered > 50 * SECONDS
    assert all(abs(value) <= FLAT or value < 0 for value in growth.values()), growth


def test_the_slope_finds_growth_and_forgives_a_step() -> None:
    """A leak of ten percent is found, noise and one step of the allocator are not."""
    noise = np.random.default_rng(1).normal(0, 0.2, 60)
    assert slope(list(100 + noise + np.linspace(0, 10, 60))) > 0.08
    assert abs(slope(list(100 + noise))) < 0.01
    assert abs(slope(list(100 + noise + 3 * (np.arange(60) > 50)))) < 0.03
