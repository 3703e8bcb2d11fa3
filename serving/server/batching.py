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
from serving.server.queued_request import QueuedRequest


class MicroBatcher:
    """Batcher of requests, at most `symbols` of them in one run; 0 turns batching off."""

    def __init__(self, core: InferenceCore, symbols: int) -> None:
        self._core, self._symbols = core, symbols

    def gather(
        self, first: RoutedRequest, waiting: Iterable[QueuedRequest]
    ) -> tuple[RoutedRequest, list[QueuedRequest]]:
        """Score `first` together with those of `waiting` that fit.

        Returns `first` and the batched requests, which then have their scores. If nothing can be
        batched, `first` is returned unchanged with an empty list. A request that cannot be prepared is left
        to its own turn, which reports the error.
        """
        version = first.answering_version
        space = self._symbols - first.request.size
        if version is None or version.card.cross_sectional or space <= 0:
            return first, []
        if not first.inputs.complete_for(version.version):
            return first, []
        mates = []
        for queued in waiting:
            if queued.request.size <= space and self._prepared(queued, first, version):
                mates.append(queued)
                space -= queued.request.size
                if space <= 0:
                    break
        if not mates:
            return first, []
        routed_requests = [first, *(queued.routed for queued in mates if queued.routed is not None)]
        first, *others = self._core.score_together(routed_requests)
        if first.inputs.precomputed is None:
            # Otherwise each of their turns would try the same batch again, and fail.
            for queued in mates:
                queued.unbatched = True
            return first, []
        for queued, routed in zip(mates, others, strict=True):
            queued.routed = routed
        return first, mates

    def _prepared(self, queued: QueuedRequest, first: RoutedRequest, version: LoadedModel) -> bool:
        """Return whether a request has its inputs, and `version` is to score them."""
        request = queued.request
        same = request.model == first.request.model and request.version == first.request.version
        if (
            queued.unbatched
            or not same
            or queued.seconds_overdue(monotonic()) >= 0
            or not self._core.can_answer_now(request)
        ):
            return False
        if queued.routed is None:
            try:
                queued.routed = self._core.prepare(request, queued.context.arrived_at)
            except AlphaloopError:
                # Otherwise each turn before its own would try again, and fail.
                queued.unbatched = True
                return False
        return queued.routed.answering_version is version and queued.routed.inputs.complete_for(
            version.version
        )
