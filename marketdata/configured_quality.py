"""The quality policies and thresholds that the settings choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphaloop.errors import UnknownNameError

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings
    from marketdata.quality.checks import Thresholds
    from marketdata.quality.cleaning import Policies


def quality_policies(settings: Settings) -> tuple[Policies, Thresholds]:
    """Return the quality policies and thresholds of the settings.

    Raises `UnknownNameError` for an unknown threshold, `InputError` for an invalid policy.
    """
    from dataclasses import fields

    from marketdata.quality.checks import Thresholds
    from marketdata.quality.cleaning import Policies

    limits = {one.name for one in fields(Thresholds)} - {"holidays"}
    for name in settings.data.thresholds:
        if name not in limits:
            raise UnknownNameError("quality threshold", name, limits, where="data.thresholds")
    thresholds = Thresholds(**settings.data.thresholds, holidays=settings.data.holidays)
    return Policies(settings.data.quality), thresholds  # type: ignore[arg-type]
