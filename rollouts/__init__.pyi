from .controller import RolloutController as RolloutController
from .evidence.evidence_ledger import EvidenceLedger as EvidenceLedger
from .evidence.evidence_ledger import EvidenceVerdict as EvidenceVerdict
from .evidence.evidence_ledger import Observation as Observation
from .evidence.expected_ranges import ExpectedRanges as ExpectedRanges
from .evidence.expected_ranges import ranges_from_card as ranges_from_card
from .evidence.expected_ranges import ranges_from_folds as ranges_from_folds
from .evidence.score_parity import ScoreRecomputation as ScoreRecomputation
from .evidence.sequential import BettingTest as BettingTest
from .evidence.sequential import MixedTest as MixedTest
from .evidence.sequential import PairedTest as PairedTest
from .operations import abort_rollout as abort_rollout
from .operations import make_controller as make_controller
from .operations import promote_challenger as promote_challenger
from .rollout_policy_settings import RolloutPolicy as RolloutPolicy
from .rollout_policy_settings import make_rollout_policy as make_rollout_policy
from .transition import RolloutOutcome as RolloutOutcome
from .transition import Transition as Transition
from .validation.bootstrap import stationary_bootstrap as stationary_bootstrap
from .validation.operating_characteristics import SimulationRequest as SimulationRequest
from .validation.operating_characteristics import simulate_characteristics as simulate_characteristics
from .validation.power import bars_to_find as bars_to_find

__all__ = [
    "BettingTest",
    "EvidenceLedger",
    "EvidenceVerdict",
    "ExpectedRanges",
    "MixedTest",
    "Observation",
    "PairedTest",
    "RolloutController",
    "RolloutOutcome",
    "RolloutPolicy",
    "ScoreRecomputation",
    "SimulationRequest",
    "Transition",
    "abort_rollout",
    "bars_to_find",
    "make_controller",
    "make_rollout_policy",
    "promote_challenger",
    "ranges_from_card",
    "ranges_from_folds",
    "simulate_characteristics",
    "stationary_bootstrap",
]
