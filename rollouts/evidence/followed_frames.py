"""Features of the newest bars, updated bar by bar instead of computed from the whole past."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, Timestamps, to_datetime, to_datetime64
from features.compute.batch import FeatureFrame, Panel, backfill
from features.compute.stream import FeatureStream
from features.feature_set import FeatureSet
from models.registry.card import Card
from rollouts.evidence.frame_cache import FrameCache


@dataclass(slots=True)
class _Followed:
    """One feature set over one universe, as far as the stream has come, and its last rows."""

    stream: FeatureStream
    times: deque[np.datetime64]
    values: deque[Panel]

    @property
    def last(self) -> datetime | None:
        return self.stream.last


class FollowedFrames:
    """Features of a growing history, for a judgement of its last bar.

    The first call for a feature set computes the whole history; each later one only the bars that are new,
    so a bar costs the same however long the history is, and the history may be cut at its beginning
    meanwhile. A stream gives the values of a backfill that begins at the same bar.

    Parameters
    ----------
    known : FeatureSet
        Feature set of the settings.

    Attributes
    ----------
    computed : int
        Bars computed so far, over all feature sets.
    """

    def __init__(self, known: FeatureSet) -> None:
        self._known = known
        self._sets: dict[str, FeatureSet] = {}
        self._followed: dict[tuple[str, tuple[str, ...]], _Followed] = {}
        self.computed = 0

    def at(self, bars: BarPanel) -> FrameCache:
        """Return the features of the last bars of `bars`, of as many as a version looks back."""
        return _LastFrames(bars, self._known, self._sets, self)

    def follow(self, bars: BarPanel, features: FeatureSet, lookback: int) -> FeatureFrame:
        """Return the last `lookback` rows of the features at the end of `bars`."""
        key = features.hash, bars.symbols
        followed = self._followed.get(key)
        if followed is None or not self._continues(followed, bars, lookback):
            followed = self._followed[key] = self._begin(bars, features, lookback)
        first = int(np.searchsorted(bars.timestamps, to_datetime64(_end(followed)), "right"))
        for index in range(first, len(bars)):
            followed.times.append(bars.timestamps[index])
            followed.values.append(followed.stream.update(bars.at(index)))
            self.computed += 1
        return _frame(followed, bars.symbols, features)

    def _continues(self, followed: _Followed, bars: BarPanel, lookback: int) -> bool:
        """Tell whether `bars` hold the bar where the stream stands."""
        if not len(bars) or (followed.values.maxlen or 0) < lookback:
            return False
        first, last = to_datetime(bars.timestamps[0]), to_datetime(bars.timestamps[-1])
        return first <= _end(followed) <= last

    def _begin(self, bars: BarPanel, features: FeatureSet, lookback: int) -> _Followed:
        frame = backfill(bars, features)
        self.computed += len(bars)
        return _Followed(
            FeatureStream(features, bars.symbols, bars),
            deque(frame.timestamps[-lookback:], maxlen=lookback),
            # Copies, because a view would keep the whole past in memory.
            deque((row.copy() for row in frame.values[-lookback:]), maxlen=lookback),
        )


class _LastFrames(FrameCache):
    """Frames of the last rows only; `index_of` knows these."""

    def __init__(
        self, bars: BarPanel, known: FeatureSet, sets: dict[str, FeatureSet], followed: FollowedFrames
    ) -> None:
        super().__init__(bars, known, sets)
        self._followed = followed

    def of(self, card: Card) -> FeatureFrame:
        bars, features = self.inputs_of(card)
        return self._followed.follow(bars, features, card.lookback)


def _end(followed: _Followed) -> datetime:
    if followed.last is None:
        raise ValueError("a stream without a bar cannot be followed")
    return followed.last


def _frame(followed: _Followed, symbols: tuple[str, ...], features: FeatureSet) -> FeatureFrame:
    times: Timestamps = np.array(followed.times, dtype="datetime64[ns]")
    return FeatureFrame(
        timestamps=times,
        symbols=symbols,
        names=features.names,
        values=np.stack(followed.values),
        feature_set=features.hash,
        definition=features.definition,
    )
