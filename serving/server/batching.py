"""Micro-batching: queued requests for the same version are scored in one run of its graph.

A run costs some 25 microseconds whatever it scores. A batch is made only of requests that are queued anyway,
so an idle server makes none and no request is held back for it. Only versions whose scores do not depend on
the other symbols take part: the card says so, and the export has verified it.
"""

from __future__ import annotations

from collections.abc import Iterable

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError
from serving.inference.core import InferenceCore
from serving.inference.model_cache import LoadedModel
from serving.inference.routed_request import RoutedRequest


class MicroBatcher:
    """Batcher of requests, at most `symbols` of them in one run; 0 turns batching off."""

    def __init__(self, core: InferenceCore, symbols: int) -> None:
        self._core, self._symbols = core, symbols

    def gather(self, first: RoutedRequest, waiting: Iterable[RoutedRequest]) -> list[RoutedRequest]:
        """Score the prepared request `first` together with those of `waiting` that fit.

        Returns the requests that were scored beside `first`, empty if nothing can be batched. A request that
        cannot be prepared is left to its own turn, which reports the error.
        """
        version = first.batch_version
        space = self._symbols - first.request.size
        if version is None or space <= 0:
            return []
        mates = []
        for other in waiting:
            if other.request.size <= space and self._prepared(other, first, version):
                mates.append(other)
                space -= other.request.size
                if space <= 0:
                    break
        if not mates:
            return []
        if not self._core.score_together([first, *mates]):
            # Otherwise each of their turns would try the same batch again, and fail.
            for other in mates:
                other.unbatched = True
            return []
        return mates

    def _prepared(self, other: RoutedRequest, first: RoutedRequest, version: LoadedModel) -> bool:
        """Return whether a request has its inputs, and `version` is to score them."""
        request = other.request
        same = request.model == first.request.model and request.version == first.request.version
        if (
            other.unbatched
            or not same
            or other.seconds_overdue(monotonic()) >= 0
            or not self._core.can_answer_now(request)
        ):
            return False
        try:
            self._core.prepare(other)
        except AlphaloopError:
            # Otherwise each turn before its own would try again, and fail.
            other.unbatched = True
            return False
        return other.batch_version is version
