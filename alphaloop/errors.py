"""Errors of alphaloop, by cause, with the exit code of the command line.

The command line prints each error as one line and exits with its `exit_code`: 1 where a check found something
wrong, 2 where the caller can correct the input, 3 where the running system, a vendor or a server failed. The
module that calls a vendor's library translates the vendor's errors into these, with the cause chained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

CHECK_FAILED, BAD_INPUT, UNAVAILABLE = 1, 2, 3
"""Exit codes: a check failed, the input is wrong, a system or vendor failed."""


class AlphaloopError(Exception):
    """Base of every error that alphaloop raises on purpose.

    `exit_code` is the exit status of the command line.
    """

    exit_code: ClassVar[int] = UNAVAILABLE


class InputError(AlphaloopError):
    """Wrong input by the caller.

    The message names the input, its value and the way out.
    """

    exit_code: ClassVar[int] = BAD_INPUT


class UnknownNameError(InputError):
    """A name that does not exist: a symbol, source, family, model, broker or feature.

    `hint` replaces the list of known names in the message, where that list is too long or cannot be known.
    """

    def __init__(
        self, kind: str, value: str, known: Iterable[str], *, where: str = "", hint: str = ""
    ) -> None:
        names = sorted(known)
        shown = ", ".join(names[:24]) + (f", … ({len(names)} in all)" if len(names) > 24 else "")
        known_names = f"known: {shown or 'none yet'}"
        location = f" in {where}" if where else ""
        super().__init__(f"unknown {kind} '{value}'{location}; {hint or known_names}")
        self.kind, self.value, self.known = kind, value, tuple(names)


class SettingsError(InputError):
    """A setting that does not exist or has an impossible value."""


class ImpossibleValueError(InputError, ValueError):
    """A value that a constructor refuses, and that may come from the user's settings."""


class DataError(InputError):
    """Market data that cannot be true, or a file that holds no market data."""


class PortInUseError(InputError):
    """A port that another process uses."""


class ShadowedPackageError(InputError):
    """A package that comes from another folder, because a folder of the user's shadows it."""


class DamagedStoreError(InputError):
    """A registry, journal or store that cannot be read; nothing was changed."""


class UnreachableStoreError(DamagedStoreError):
    """A store that cannot be opened or reached, which says nothing about what it holds."""


class PluginError(InputError):
    """A plug-in of the user's that cannot be loaded, or has the name of another one."""


class StrategyError(InputError):
    """A strategy that failed, or that gave weights which no book can hold; the message names both."""


class NotReplayableError(AlphaloopError):
    """A decision whose strategy is not to be had here: nothing is known to be wrong with it."""


class MissingPartError(InputError):
    """A library or server that the command needs and that is not installed."""


class MissingStateError(InputError):
    """State that an earlier command should have created and that does not exist yet."""


class VendorError(AlphaloopError):
    """A failure of a vendor's library or service; the cause is chained."""


class StaleFeaturesError(AlphaloopError):
    """Features of the requested bar that the online store does not have."""

    exit_code: ClassVar[int] = BAD_INPUT


class FeatureSetMismatchError(AlphaloopError):
    """A model trained on another feature set or universe than the features at hand."""

    exit_code: ClassVar[int] = BAD_INPUT


class FidelityError(AlphaloopError):
    """An exported ONNX graph whose scores differ from those of the native model."""

    exit_code: ClassVar[int] = CHECK_FAILED


class ServingError(AlphaloopError):
    """A prediction that the server did not deliver."""


class TlsError(ServingError, InputError):
    """A disagreement between client and server on TLS; the message names the setting.

    The server was reached, so that neither address nor network is the cause.
    """


class LeaseLostError(AlphaloopError):
    """A lease that another process took over; this writer may write nothing more."""

    exit_code: ClassVar[int] = CHECK_FAILED


class RoleHeldError(AlphaloopError):
    """A role that another process holds; the message names the role and its holder."""

    exit_code: ClassVar[int] = CHECK_FAILED


class ChainBrokenError(AlphaloopError):
    """An altered journal: a hash, a link or an anchor does not match."""

    exit_code: ClassVar[int] = CHECK_FAILED


class RolloutConflictError(AlphaloopError):
    """A rollout document that changed since it was read, or an illegal transition of it."""

    exit_code: ClassVar[int] = BAD_INPUT
