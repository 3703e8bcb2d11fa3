"""The first champion of a model: who it is, and the drift thresholds that are fixed with it."""

from __future__ import annotations

from alphaloop.bars import BarPanel
from alphaloop.clock import SystemClock
from alphaloop.errors import DataError, InputError, RolloutConflictError
from alphaloop.journal.store import Journal
from alphaloop.rollout_document import Override, RolloutDocument
from alphaloop.settings.settings import Settings
from features.compute.batch import FeatureFrame
from features.feature_set import feature_set_of
from marketdata.storage.snapshots import SnapshotStore
from models.registry.card import Card
from monitoring.drift.calibration import calibrate_beside, calibrate_on
from rollouts.evidence.score_parity import Frames
from rollouts.operations import make_controller, open_registry
from rollouts.start import require_passed


def crown(
    settings: Settings,
    model: str,
    version: str,
    *,
    override: Override | None = None,
    by: str = "controller",
) -> tuple[RolloutDocument, str]:
    """Make `version` the first champion, and fix the drift monitor's thresholds on its training bars.

    Returns the rollout document, and a warning where drift cannot be watched (else an empty text). Raises
    `InputError` for a version that its gate refused without an override, and `RolloutConflictError` where
    there is a champion.
    """
    paths, registry = settings.paths, open_registry(settings)
    card = registry.card(model, version)
    stored = registry.rollout(model)
    if stored is not None:
        raise RolloutConflictError(
            f"'{model}' has a champion already, version {stored.champion}; "
            f"alphaloop rollout start {version} lets another version challenge it"
        )
    require_passed(version, card, override, "crown")
    # The thresholds first: a champion that nobody watches would look like one that does not drift.
    warning = fix_thresholds(settings, _frame(settings, card))
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    document = make_controller(settings, model, journal, registry).crown(version, override=override, by=by)
    return document, warning


def fix_thresholds(settings: Settings, frame: FeatureFrame, *, beside: bool = False) -> str:
    """Fix the drift monitor's thresholds on `frame`; says why where there is too little to fix them on.

    With `beside`, only where there are none yet for the feature set of `frame`.
    """
    try:
        if beside:
            calibrate_beside(frame, settings.drift, settings.paths.drift)
        else:
            calibrate_on(frame, settings.drift).save(settings.paths.drift)
    except DataError as error:
        return f"drift is not watched: {error}"
    return ""


def override_of(name: str, reason: str, by: str, rotate_inputs: int = 0) -> Override | None:
    """The override that a command line asks for; `InputError` for one without a name or a reason."""
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
    store = SnapshotStore(settings.paths.snapshots)
    bars = BarPanel.from_table(store.load(card.snapshot))
    return Frames(bars, feature_set_of(settings)).of(card)
