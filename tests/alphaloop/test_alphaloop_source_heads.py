"""The head of a source: moved by one streamer, read by all others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import LeaseLostError
from alphaloop.journal.positions.source_heads import Pace, SourceHead
from alphaloop.journal.store import Journal

HEAD = SourceHead("sp500-20", 0, datetime(2020, 3, 16, 20, tzinfo=UTC), "a" * 64, Pace.LOCKSTEP)


def test_a_head_moves_only_from_where_it_was_read(tmp_path: Path) -> None:
    """A streamer that read an older head changes nothing, and is told to stop."""
    with Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", SystemClock()) as journal:
        assert journal.heads.read("sp500-20") is None
        with journal.take_role("streamer/sp500-20") as role:
            journal.heads.advance(None, HEAD, role)
            after = replace(HEAD, number=1, snapshot="b" * 64)
            journal.heads.advance(HEAD, after, role)
            with pytest.raises(LeaseLostError, match="another streamer moved it"):
                journal.heads.advance(HEAD, replace(after, snapshot="c" * 64), role)
        assert journal.heads.read("sp500-20") == after


def test_a_streamer_without_its_role_moves_no_head(tmp_path: Path) -> None:
    """Once the role was given back or taken over, the head stays where it is."""
    with Journal(tmp_path / "journal.db", tmp_path / "anchors.jsonl", SystemClock()) as journal:
        with journal.take_role("streamer/sp500-20") as role:
            journal.heads.advance(None, HEAD, role)
        with pytest.raises(LeaseLostError, match="nothing was written"):
            journal.heads.advance(HEAD, replace(HEAD, number=1), role)
        assert journal.heads.read("sp500-20") == HEAD
