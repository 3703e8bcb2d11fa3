"""This server conforms to the Open Inference Protocol, by the calls of unmodified tritonclient."""

from __future__ import annotations

import pytest

from .protocol_calls import Target
from .protocol_cases import CASES, Case, observe


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_this_server_conforms(ours: Target, case: Case) -> None:
    """Each call of the protocol shows what the specification says."""
    assert observe(case, ours) == case.expected, case.words
