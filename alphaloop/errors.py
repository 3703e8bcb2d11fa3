"""What can go wrong, by whose fault, and what to do about it.

The command line prints each of these as one line and exits with its `exit_code`: 1 where a check found
something wrong, 2 for what the caller can mend, 3 where the running system, a vendor or a server failed.
Vendor errors are translated into these at the door where the vendor's library is called, with the cause
chained.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

FOUND_WRONG, BAD_INPUT, UNAVAILABLE = 1, 2, 3


class AlphaloopError(Exception):
    """Base of every error that alphaloop raises on purpose."""

    exit_code: ClassVar[int] = UNAVAILABLE


class InputError(AlphaloopError):
    """Something the caller gave is wrong; the message names it, its value and the way out."""

    exit_code: ClassVar[int] = BAD_INPUT


class UnknownNameError(InputError):
    """A name that is in no list: a symbol, source, family, model, broker or feature.

    `hint` says what to do where the list is too long to be known.
    """

    def __init__(
        self, kind: str, value: str, known: Iterable[str], *, where: str = "", hint: str = ""
    ) -> None:
        names = sorted(known)
        shown = ", ".join(names[:24]) + (f", … ({len(names)} in all)" if len(names) > 24 else "")
        known_names = f"known: {shown or 'none yet'}"
        place = f" in {where}" if where else ""
        super().__init__(f"unknown {kind} '{value}'{place}; {hint or known_names}")
        self.kind, self.value, self.known = kind, value, tuple(names)


class SettingsError(InputError):
    """A setting that does not exist or holds an impossible value."""


class ImpossibleValueError(InputError, ValueError):
    """A value that a constructor refuses, and that the user's settings can hold."""


class DataError(InputError):
    """Market data that must not be believed, or a file that is not market data."""


class PortInUseError(InputError):
    """A port that another process holds."""


class ShadowedRoomError(InputError):
    """Two of our packages come from different roots: a folder of the user's shadows one."""


class DamagedStoreError(InputError):
    """A registry, journal or store that cannot be read; nothing was changed."""


class PluginError(InputError):
    """A plug-in of the user's that cannot be loaded, or has the name of another one."""


class MissingPartError(InputError):
    """A library or server that this command needs is not installed."""


class MissingStateError(InputError):
    """Something that an earlier command should have made is not there yet."""


class VendorError(AlphaloopError):
    """A vendor's library or service failed; the cause is chained."""


class StaleFeaturesError(AlphaloopError):
    """The online store does not hold the bar that was asked for."""

    exit_code: ClassVar[int] = BAD_INPUT


class FeatureSetMismatchError(AlphaloopError):
    """A model was trained on another feature set, or on features over other symbols, than those at hand."""

    exit_code: ClassVar[int] = BAD_INPUT


class FidelityError(AlphaloopError):
    """An exported ONNX graph does not give the scores of the model it came from."""

    exit_code: ClassVar[int] = FOUND_WRONG


class ServingError(AlphaloopError):
    """A prediction could not be had from the server."""


class TlsError(ServingError, InputError):
    """A server is there, and does not agree with the client on TLS; the message names the setting."""


class LeaseLostError(AlphaloopError):
    """Another process took over this writer's lease; nothing more may be written here."""

    exit_code: ClassVar[int] = FOUND_WRONG


class ChainBrokenError(AlphaloopError):
    """The journal was altered: a hash, a link or an anchor does not match."""

    exit_code: ClassVar[int] = FOUND_WRONG


class RolloutConflictError(AlphaloopError):
    """The rollout document changed under the writer, or the transition is not a legal one."""

    exit_code: ClassVar[int] = BAD_INPUT
