from .controller import RolloutController as RolloutController
from .evidence.evidence_ledger import Ledger as Ledger
from .evidence.evidence_ledger import Observation as Observation
from .evidence.evidence_ledger import Verdict as Verdict
from .evidence.expected_ranges import Expectation as Expectation
from .evidence.expected_ranges import expectation as expectation
from .evidence.expected_ranges import of_folds as of_folds
from .evidence.score_parity import Recomputation as Recomputation
from .evidence.sequential import BettingTest as BettingTest
from .evidence.sequential import MixedTest as MixedTest
from .evidence.sequential import PairedTest as PairedTest
from .operations import abort as abort
from .operations import make_controller as make_controller
from .operations import promote as promote
from .policy import RolloutPolicy as RolloutPolicy
from .policy import rollout_policy as rollout_policy
from .transition import Outcome as Outcome
from .transition import Transition as Transition
from .validation.bootstrap import stationary as stationary
from .validation.operating_characteristics import Question as Question
from .validation.operating_characteristics import rehearse as rehearse
from .validation.power import bars_to_find as bars_to_find

__all__ = [
    "BettingTest",
    "Expectation",
    "Ledger",
    "MixedTest",
    "Observation",
    "Outcome",
    "PairedTest",
    "Question",
    "Recomputation",
    "RolloutController",
    "RolloutPolicy",
    "Transition",
    "Verdict",
    "abort",
    "bars_to_find",
    "expectation",
    "make_controller",
    "of_folds",
    "promote",
    "rehearse",
    "rollout_policy",
    "stationary",
]
