"""A venue that cannot answer now, and how long it asks us to wait."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from alphaloop.clock import Clock
from alphaloop.errors import VendorError


class BusyError(VendorError):
    """The venue cannot answer now and may later; `retry_after` are the seconds it asked for, if it did."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def advice(error: BaseException) -> float | None:
    """The `retry_after` of `marketdata.connectors.retry.Retry`: what a `BusyError` asks for."""
    return error.retry_after if isinstance(error, BusyError) else None


def retry_after(header: str | None, clock: Clock) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), or None.

    A header that is neither is as good as none.
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
