"""What holds for the tests of every room."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The machine is shared and coverage traces: an example's time says nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def untraced() -> Iterator[None]:
    """Times are taken without the tracing of coverage, which would be most of them."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
