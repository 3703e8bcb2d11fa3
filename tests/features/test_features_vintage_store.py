"""Stored vintages: the same under the same id, and what is damaged says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.errors import DamagedStoreError, UnknownNameError
from marketdata.point_in_time.vintages import Vintages, first_prints
from marketdata.storage.vintage_store import VintageStore

from .vintage_histories import DAY, eventful, later, moment, revision, split


def test_stored_vintages_are_what_they_were(tmp_path: Path, real_bars: BarPanel) -> None:
    """The id is that of rows, publications, actions and latency in any order; features of it are the same."""
    vintages = eventful(real_bars)
    store = VintageStore(tmp_path)
    identity = store.save(vintages)
    backwards = Vintages(vintages.rows.take(np.arange(len(vintages.rows))[::-1]), vintages.actions[::-1],
                         symbols=vintages.symbols)  # fmt: skip
    assert store.save(backwards) == identity
    loaded = store.load(identity)
    assert (loaded.symbols, loaded.latency) == (vintages.symbols, vintages.latency)
    assert sorted(loaded.actions, key=str) == sorted(vintages.actions, key=str)
    for row in (310, 405, 502):
        ours, theirs = (one.as_of(moment(real_bars, row)) for one in (loaded, vintages))
        np.testing.assert_array_equal(ours.adjusted_close, theirs.adjusted_close)
    others = [
        vintages.with_actions([split("XOM", date(2019, 1, 2), moment(real_bars, 1))]),
        vintages.with_rows(revision("XOM", moment(real_bars, 1), moment(real_bars, 9), 1.0)),
        replace(vintages, latency=timedelta(seconds=1)),
        Vintages(first_prints(real_bars), vintages.actions, symbols=vintages.symbols),
        Vintages(later(first_prints(real_bars), DAY), vintages.actions, symbols=vintages.symbols),
    ]
    assert len({identity, *(store.save(one) for one in others)}) == 6


def test_damaged_vintages_say_so(tmp_path: Path, real_bars: BarPanel) -> None:
    """A file under another's name, one that is no Parquet, lost actions and a strange id are each named."""
    store = VintageStore(tmp_path)
    first = Vintages(first_prints(real_bars), (split("KO", date(2019, 1, 2), moment(real_bars, 1)),))
    one, other = store.save(first), store.save(first.until(moment(real_bars, 9)))
    paths = {identity: tmp_path / f"{identity}.vintages.parquet" for identity in (one, other)}
    kept = paths[one].read_bytes()
    for content, word in [(paths[other].read_bytes(), "does not hash"), (b"PAR1", "fetch its bars anew")]:
        paths[one].write_bytes(content)
        with pytest.raises(DamagedStoreError, match=word):
            store.load(one)
    paths[one].write_bytes(kept)
    with pytest.raises(UnknownNameError, match=one[:12]):
        store.load("0" * 64)
    for path in tmp_path.glob("*.actions.parquet"):
        path.unlink()
    with pytest.raises(UnknownNameError, match="set of corporate actions"):
        store.load(one)
