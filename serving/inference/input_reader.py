"""Inputs of a request: the client's panel, or features from the online store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError, MissingStateError, StaleFeaturesError, UnknownNameError
from serving.inference.model_cache import LoadedModel
from serving.inference.values import RequestInputs, ScoringInputs
from serving.inference.version_universe import select_requested, symbols_to_read
from serving.protocol.messages import InferenceRequest, InvalidRequestError
from serving.protocol.request_limits import LARGE_SYMBOLS, max_request_symbols, require_symbol_count
from serving.protocol.tensors import is_complete

if TYPE_CHECKING:
    from features.store.online_reader import OnlineReader, OnlineWindows


class InputReader:
    """Reader of requests' inputs from `store`, or from `large_store` for many symbols.

    A store reads for one request at a time. `bars` has the bar of the last request by symbols, for each model
    that answered such requests.
    """

    def __init__(self, store: OnlineReader, large_store: OnlineReader | None = None) -> None:
        self._store, self._large_store = store, large_store or store
        self.bars: dict[str, datetime] = {}

    def open(self) -> None:
        """Open the store, which takes seconds, before the first request."""
        self._store.stored(("",))

    def read(
        self, request: InferenceRequest, versions: Sequence[LoadedModel], started: float
    ) -> RequestInputs:
        """Read the inputs for all `versions`, of which the first must be able to answer.

        `started` is the request's time of arrival (`alphaloop.clock.monotonic`). Raises
        `InvalidRequestError`, `UnknownNameError`, `StaleFeaturesError`, `MissingStateError` and
        `FeatureSetMismatchError`, as `InferenceCore.prepare` says.
        """
        first = versions[0]
        if request.panel is not None:
            expected = (first.card.lookback, first.features)
            if request.panel.shape[1:] != expected:
                raise InvalidRequestError(
                    f"input 'panel' has shape {list(request.panel.shape)}; {first.model} version "
                    f"{first.version} takes [symbols, {expected[0]}, {expected[1]}]"
                )
            first.universe.require_panel_symbols(len(request.panel))
            sent = ScoringInputs(
                request.panel,
                is_complete(request.panel),
                monotonic() - started,
                feature_timestamp=request.as_of,
            )
            return RequestInputs(sent, sent)
        lookback = max(version.card.lookback for version in versions)
        try:
            inputs, windows = self._windows(request, versions, lookback, started)
        except MissingStateError:
            if lookback == first.card.lookback:
                raise
            # The store keeps fewer rows than the challenger's lookback: the champion can still answer.
            inputs, windows = self._windows(request, versions[:1], first.card.lookback, started)
        first.require_feature_set(windows.feature_set)
        first.universe.require_same_universe(windows.universe)
        self.bars[first.model] = windows.feature_timestamp
        rows = windows.panel.shape[1]
        separate = {
            version.version: self._read_separately(request, version, started)
            for version in versions[1:]
            if version.card.lookback > rows or not _computed_for(windows, version)
        }
        return RequestInputs(inputs.requested, inputs.read, separate) if separate else inputs

    def _read_separately(
        self, request: InferenceRequest, version: LoadedModel, started: float
    ) -> RequestInputs | str:
        """Read the inputs of `version` alone, or return the reason why there are none.

        A reason excludes this version only; the others are scored.
        """
        try:
            inputs, windows = self._windows(request, [version], version.card.lookback, started)
            version.require_feature_set(windows.feature_set)
            version.universe.require_same_universe(windows.universe)
        except AlphaloopError as error:
            return str(error)
        return inputs

    def _windows(
        self, request: InferenceRequest, versions: Sequence[LoadedModel], lookback: int, started: float
    ) -> tuple[RequestInputs, OnlineWindows]:
        """Read the inputs for `versions`, with the online windows behind them.

        The windows are those of the first version.
        """
        asked, as_of = request.symbols, request.as_of
        if asked is None or as_of is None:
            raise InvalidRequestError("give the input 'panel', or 'symbols' with the parameter 'as_of'")
        first = versions[0]
        require_symbol_count(len(asked), max_request_symbols(len(first.universe.symbols)))
        symbols = symbols_to_read(asked, [version.universe for version in versions])
        store = self._large_store if len(symbols) > LARGE_SYMBOLS else self._store
        try:
            windows = store.read(symbols, as_of, lookback, first.card.feature_set, first.universe.digest)
        except StaleFeaturesError:
            if store.stored(symbols):
                raise
            where = "the online store holds none of the symbols asked for"
            raise UnknownNameError("symbol", asked[0], (), hint=where) from None
        read = ScoringInputs(
            panel=windows.panel,
            complete=bool(np.isfinite(windows.panel).all()),
            read_seconds=monotonic() - started,
            symbols=symbols,
            feature_timestamp=windows.feature_timestamp,
            feature_set=windows.feature_set,
            snapshot=windows.snapshot,
            universe=windows.universe,
        )
        return RequestInputs(select_requested(read, asked), read), windows


def _computed_for(windows: OnlineWindows, version: LoadedModel) -> bool:
    """Return whether the windows were computed from the version's feature set and universe."""
    return windows.made_of(version.card.feature_set, version.universe.digest)
