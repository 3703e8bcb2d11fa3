"""ONNX Runtime sessions of model versions, loaded from the registry and cached.

Each session has one thread: two threads on two cores took the 99th percentile from 0.26 to 4.4 ms.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from alphaloop.errors import DamagedStoreError, FeatureSetMismatchError, ServingError
from alphaloop.runtime.processes import silence_telemetry
from models.registry.card import Card
from serving.inference.version_universe import VersionUniverse
from serving.protocol.messages import Panel, Scores
from serving.security.signature import require_signature

if TYPE_CHECKING:
    from models.registry.model_registry import Registry

DEFAULT_CAPACITY = 16
# Symbols in one run: the memory of a run grows with them and is never given back, and a run of 8,192 took
# twice as long as 16 of these, while forecasts of others waited for its memory.
MAX_SYMBOLS_PER_RUN = 512


class LoadedModel:
    """Model version in memory, ready to score.

    Parameters
    ----------
    model, version : str
        Name and version in the registry.
    card : Card
        The version's model card.
    onnx : bytes
        The version's ONNX file.

    Raises
    ------
    DamagedStoreError
        If `onnx` does not have the digest on the card.
    ServingError
        If ONNX Runtime cannot run the graph, or its inputs and outputs are not those on the card.
    """

    def __init__(self, model: str, version: str, card: Card, onnx: bytes) -> None:
        digest = hashlib.sha256(onnx).hexdigest()
        if digest != card.digest:
            raise DamagedStoreError(
                f"{model} version {version}: the ONNX file's digest is {digest[:12]}, its card says "
                f"{card.digest[:12]}; register the model again"
            )
        self.model, self.version, self.card = model, version, card
        self.universe = VersionUniverse.from_card(model, version, card)
        self._session = _session(model, version, onnx)
        self._require_interface()
        # The first run of a session plans its memory; no client should wait for that.
        self.score(np.zeros((2, card.lookback, len(card.features)), np.float32))

    @property
    def features(self) -> int:
        """Number of features in one row."""
        return len(self.card.features)

    def require_feature_set(self, feature_set: str) -> None:
        """Raise `FeatureSetMismatchError` unless the model was trained on `feature_set`."""
        if feature_set != self.card.feature_set:
            raise FeatureSetMismatchError(
                f"{self.model} version {self.version} was trained on feature set "
                f"{self.card.feature_set[:12]}, the online store holds {feature_set[:12]}; "
                "what writes it (alphaloop trade, alphaloop features materialize) carries the features of "
                "the versions in rollouts, from its next bar on, and of no others"
            )

    def score(self, panel: Panel, complete: bool = False) -> Scores:
        """Score a panel.

        Parameters
        ----------
        panel : ndarray of float32, shape [symbols, lookback, features]
            Features. A symbol with a value that is not finite is masked: the model does not see it.
        complete : bool
            The caller knows that all values are finite.

        Returns
        -------
        ndarray of float32, shape [symbols]
            Scores, NaN for a masked symbol.

        Raises
        ------
        ServingError
            If the graph fails, or has no finite score for a finite input.
        """
        if complete or np.isfinite(panel).all():
            return self._checked(panel)
        finite = np.isfinite(panel).all(axis=(1, 2))
        scores = np.full(len(panel), np.nan, np.float32)
        if finite.any():
            scores[finite] = self._checked(panel[finite])
        return scores

    def _checked(self, panel: Panel) -> Scores:
        """Score a panel without missing values."""
        scores = self._in_runs(np.ascontiguousarray(panel, np.float32))
        if scores.shape != (len(panel),):
            raise self._failure(f"gave scores of shape {scores.shape} for {len(panel)} symbols")
        if not np.isfinite(scores).all():
            raise self._failure("gave a score that is not finite")
        return scores

    def _in_runs(self, panel: Panel) -> Scores:
        """Score `panel` in runs of limited size if its symbols are independent."""
        if self.card.cross_sectional or len(panel) <= MAX_SYMBOLS_PER_RUN:
            return self._run(panel)
        starts = range(0, len(panel), MAX_SYMBOLS_PER_RUN)
        return np.concatenate([self._run(panel[start : start + MAX_SYMBOLS_PER_RUN]) for start in starts])

    def _run(self, panel: Panel) -> Scores:
        try:
            return np.asarray(self._session.run(["scores"], {"panel": panel})[0], np.float32)
        except _runtime_errors() as error:
            raise self._failure(f"failed: {error}") from error

    def _require_interface(self) -> None:
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        outputs = {one.name for one in self._session.get_outputs()}
        expected = [self.card.lookback, self.features]
        sizes = inputs.get("panel", [])[1:]
        # A named dimension is free; a number must be the card's.
        fits = len(sizes) == len(expected) and all(
            not isinstance(size, int) or size == length for size, length in zip(sizes, expected, strict=True)
        )
        if set(inputs) != {"panel"} or "scores" not in outputs or not fits:
            raise self._failure(
                f"has inputs {inputs}, its card says panel [symbols, {expected[0]}, {expected[1]}]"
            )

    def _failure(self, problem: str) -> ServingError:
        return ServingError(f"{self.model} version {self.version} {problem}")


class ModelCache:
    """Cache of loaded versions: the `capacity` most recently used. Thread-safe.

    A version that another object holds, as the router holds those of a rollout, is kept beyond that.

    Parameters
    ----------
    registry : Registry
        Registry to load from.
    capacity : int
        Number of versions to keep.
    signing_key : Path, optional
        PEM file of an Ed25519 public key; then every version must carry a signature of that key.
    """

    def __init__(
        self, registry: Registry, capacity: int = DEFAULT_CAPACITY, signing_key: Path | None = None
    ) -> None:
        self._registry, self._capacity, self._signing_key = registry, capacity, signing_key
        self._held: WeakValueDictionary[tuple[str, str], LoadedModel] = WeakValueDictionary()
        self._recent: OrderedDict[tuple[str, str], LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def is_loaded(self, model: str, version: str) -> bool:
        """Return whether a version is in memory."""
        return self.get_loaded(model, version) is not None

    def get_loaded(self, model: str, version: str) -> LoadedModel | None:
        """Return a version if it is in memory."""
        with self._lock:
            return self._held.get((model, version))

    def unload(self, model: str, version: str) -> None:
        """Remove a version from the cache; running requests finish with it."""
        with self._lock:
            self._held.pop((model, version), None)
            self._recent.pop((model, version), None)

    def load(self, model: str, version: str) -> LoadedModel:
        """Return a version, loaded and warm.

        Raises
        ------
        UnknownNameError
            If the registry does not have the version.
        DamagedStoreError
            If the ONNX file does not have the digest on its card.
        UntrustedModelError
            If the version lacks the required signature.
        ServingError
            If ONNX Runtime cannot run the version.
        """
        key = (model, version)
        with self._lock:
            cached = self._held.get(key)
            if cached is not None:
                return self._use(key, cached)
        # Outside the lock: a slow load must not hold up versions that are loaded.
        card = self._registry.card(model, version)
        if self._signing_key is not None:
            require_signature(
                model, version, card.digest, self._registry.signature(model, version), self._signing_key
            )
        loaded = LoadedModel(model, version, card, self._registry.onnx(model, version))
        with self._lock:
            self._held[key] = loaded
            return self._use(key, loaded)

    def _use(self, key: tuple[str, str], loaded: LoadedModel) -> LoadedModel:
        self._recent[key] = loaded
        self._recent.move_to_end(key)
        if len(self._recent) > self._capacity:
            self._recent.popitem(last=False)
        return loaded


def _session(model: str, version: str, onnx: bytes) -> Any:
    silence_telemetry("ORT_DISABLE_TELEMETRY")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise ServingError(
            f"{model} version {version} is not a graph that ONNX Runtime takes: {error}"
        ) from error


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Return ONNX Runtime's exceptions, which share no base class of their own."""
    silence_telemetry("ORT_DISABLE_TELEMETRY")
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    return (*(getattr(state, name) for name in names), RuntimeError, ValueError)
