"""The records that the settings attach to bars: files of actions, members, sectors and external series."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from alphaloop.bars import BARS_SCHEMA
from alphaloop.errors import DataError, InputError, UnknownNameError
from alphaloop.settings.data import DataSettings
from alphaloop.universe_mask import MEMBER_COLUMN
from marketdata.point_in_time.corporate_actions import read_actions
from marketdata.point_in_time.external_series import ExternalSeries
from marketdata.point_in_time.membership import MembershipHistory
from marketdata.point_in_time.observations import read_observations
from marketdata.point_in_time.point_in_time_records import SECTOR_COLUMN, PointInTimeRecords
from marketdata.point_in_time.universe import Universe

FILE_SETTINGS = ("universe", "sectors", "series", "actions")
"""Settings of `data` that name a file of records."""


OPTION_SETTINGS = ("universe_group", "series_max_age_days")
"""Settings of `data` that change what is read of such a file."""


def has_records(settings: DataSettings) -> bool:
    """Return True if the settings name any file of records."""
    return any(getattr(settings, name) for name in FILE_SETTINGS)


def records_identity(settings: DataSettings) -> str:
    """Return the name of the settings' records; empty where there are none.

    Files are named by their absolute paths, as the settings are. Their content is not part of the name:
    records are added over time, and bars that are stored keep what was known at their close.
    """
    parts = [f"{name}={getattr(settings, name)}" for name in FILE_SETTINGS if getattr(settings, name)]
    parts += [f"{name}={getattr(settings, name)}" for name in OPTION_SETTINGS if getattr(settings, name)]
    return "&".join(parts)


def configured_records(settings: DataSettings) -> PointInTimeRecords:
    """Read the files of records that the settings name.

    Parameters
    ----------
    settings
        `universe`, `universe_group`, `sectors`, `series`, `series_max_age_days` and `actions`.

    Returns
    -------
    PointInTimeRecords
        The records; empty where the settings name no file.

    Raises
    ------
    DataError
        For a file that cannot be read; the message names file, row and column.
    UnknownNameError
        For a group that the file does not have.
    InputError
        For a file with several groups where the settings name none, a series that is called like a column of
        the bars, and corporate actions beside several providers, which bring their own.
    """
    if settings.actions and settings.providers:
        raise InputError(
            f"data.actions is '{settings.actions}', and data.providers bring the corporate actions of their "
            "bars; set one of the two"
        )
    return PointInTimeRecords(
        universe=_universe(settings),
        sectors=MembershipHistory.read(Path(settings.sectors)) if settings.sectors else None,
        series=_series(settings),
        actions=tuple(read_actions(Path(settings.actions))) if settings.actions else (),
        identity=records_identity(settings),
        digests={
            name: _digest(Path(getattr(settings, name))) for name in FILE_SETTINGS if getattr(settings, name)
        },
    )


def _universe(settings: DataSettings) -> Universe | None:
    if not settings.universe:
        if settings.universe_group:
            raise InputError(
                f"data.universe_group is '{settings.universe_group}', and data.universe names no file; set it"
            )
        return None
    memberships = MembershipHistory.read(Path(settings.universe))
    groups, group = memberships.groups(), settings.universe_group
    if not groups:
        raise DataError(f"{settings.universe}: it has no rows; a universe has at least one member")
    if not group and len(groups) > 1:
        raise InputError(
            f"{settings.universe} has {len(groups)} groups ({', '.join(groups[:8])}); set "
            "data.universe_group to one of them"
        )
    if group and group not in groups:
        raise UnknownNameError("group", group, groups, where=settings.universe)
    return Universe(group or groups[0], memberships)


def _series(settings: DataSettings) -> ExternalSeries | None:
    if not settings.series:
        return None
    days = settings.series_max_age_days
    observations = read_observations(Path(settings.series))
    series = ExternalSeries(observations, (), timedelta(days=days) if days else None)
    try:
        series.require_free((*BARS_SCHEMA.names, MEMBER_COLUMN, SECTOR_COLUMN))
    except InputError as error:
        raise InputError(f"{settings.series}: {error}") from error
    return series


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
