"""First champion of a model: crown it and calibrate the drift monitor on its training bars."""

from __future__ import annotations

from alphaloop.bars import BarPanel
from alphaloop.clock import SystemClock
from alphaloop.errors import DataError, InputError, RolloutConflictError
from alphaloop.journal.opening import open_journal
from alphaloop.rollout_document import Override, RolloutDocument
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame
from features.feature_set import feature_set_of
from marketdata.storage.snapshots import SnapshotStore
from models.registry.card import Card
from monitoring.drift.calibration import fit_calibration_on, fit_missing_calibration
from rollouts.evidence.frame_cache import FrameCache
from rollouts.operations import make_controller, open_rollout_registry
from rollouts.start import require_passed


def crown_first_champion(
    settings: Settings,
    model: str,
    version: str,
    *,
    override: Override | None = None,
    by: str = "controller",
) -> tuple[RolloutDocument, str]:
    """Make `version` the first champion, and calibrate the drift monitor on its training bars.

    Parameters
    ----------
    settings : Settings
        Paths of registry, journal, snapshots and calibrations.
    model, version : str
        Model and version.
    override : Override, optional
        Needed for a version that its gate refused.
    by : str
        Author of the transition in the journal.

    Returns
    -------
    tuple of RolloutDocument and str
        The stored document, and a warning where drift cannot be monitored (else empty).

    Raises
    ------
    InputError
        For a version that its gate refused, without an override.
    RolloutConflictError
        Where there is a champion already.
    MissingStateError
        Before the first training.
    """
    registry = open_rollout_registry(settings)
    card = registry.card(model, version)
    stored = registry.rollout(model)
    if stored is not None:
        raise RolloutConflictError(
            f"'{model}' has a champion already, version {stored.champion}; "
            f"alphaloop rollout start {version} lets another version challenge it"
        )
    require_passed(version, card, override, "crown")
    # The thresholds first: a champion without a monitor would look like one that does not drift.
    warning = calibrate_drift_monitor(settings, _frame(settings, card))
    journal = open_journal(settings, SystemClock())
    document = make_controller(settings, model, journal, registry).crown(version, override=override, by=by)
    return document, warning


def calibrate_drift_monitor(settings: Settings, frame: FeatureFrame, *, beside: bool = False) -> str:
    """Calibrate the drift monitor on `frame`.

    Returns a warning where the history is too short.

    With `beside`, only where the feature set of `frame` has no calibration yet.
    """
    try:
        if beside:
            fit_missing_calibration(frame, settings.drift, settings.locations.drift)
        else:
            fit_calibration_on(frame, settings.drift).save(settings.locations.drift)
    except DataError as error:
        return f"drift is not watched: {error}"
    return ""


def make_override(name: str, reason: str, by: str, rotate_inputs: int = 0) -> Override | None:
    """Build the override of a command line; None without a name.

    Raises `InputError` for an override without a reason, and for a drill (`rotate_inputs`) without a name.
    """
    if rotate_inputs and not name:
        raise InputError(
            "--rotate-inputs is a drill; give it a name with --override and say why with --reason"
        )
    if not name:
        return None
    if not reason:
        raise InputError(f"--override {name} has no reason; say why with --reason")
    return Override(name, by, reason, rotate_inputs)


def _frame(settings: Settings, card: Card) -> FeatureFrame:
    store = SnapshotStore(settings.locations.snapshots)
    bars = BarPanel.from_table(store.load(card.snapshot))
    return FrameCache(bars, feature_set_of(settings)).of(card)
