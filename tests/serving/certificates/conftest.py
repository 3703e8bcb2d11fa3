"""Parties whose certificates are replaced, and a host of which they are asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.security import reloadable_file

from .rotation import Rotation


@pytest.fixture
def rotation(tmp_path: Path) -> Rotation:
    """Certificates for one test; the server begins with those of before."""
    return Rotation(tmp_path)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at with each connection."""
    monkeypatch.setattr(reloadable_file, "CHECK_SECONDS", 0.0)


@pytest.fixture
def hosted(world: Any, shelf: Any, rotation: Rotation) -> Iterator[Callable[[bool], tuple[ProcessHost, str]]]:
    """Starts a host with gRPC and HTTPS, mutual or not; gives it and the name of its model."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    with contextlib.ExitStack() as stack:

        def start(mutual: bool) -> tuple[ProcessHost, str]:
            server = rotation.server
            settings = world.settings(
                model=shelf.name, http_port=free_port(), tls_certificate=server.chain, tls_key=server.key,
                tls_client_ca=server.authority if mutual else None,
            )  # fmt: skip
            return stack.enter_context(ProcessHost(settings, free_port())), shelf.name

        yield start
