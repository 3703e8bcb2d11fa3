"""Errors of a venue that cannot answer now, and the wait that it asks for."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from alphaloop.clock import Clock
from alphaloop.errors import VendorError


class VenueUnavailableError(VendorError):
    """The venue cannot answer now but may later.

    `retry_after` is the wait that the venue requested, in seconds, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def requested_wait(error: BaseException) -> float | None:
    """Return the wait that a `VenueUnavailableError` requests, for `RetryPolicy.retry_after`."""
    return error.retry_after if isinstance(error, VenueUnavailableError) else None


def parse_retry_after(header: str | None, clock: Clock) -> float | None:
    """Parse a Retry-After header (RFC 9110, 10.2.3: seconds or a date) to seconds.

    None for a missing or invalid header.
    """
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - clock.now()).total_seconds())
