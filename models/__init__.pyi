from .dataset import Dataset as Dataset
from .dataset import make_dataset as make_dataset
from .evaluation.gate import GatePolicy as GatePolicy
from .evaluation.gate import judge as judge
from .evaluation.information_coefficient import information_coefficients as information_coefficients
from .evaluation.information_coefficient import newey_west_tstat as newey_west_tstat
from .evaluation.permutation_test import permutation_test as permutation_test
from .evaluation.sharpe_ratio import deflated_sharpe as deflated_sharpe
from .evaluation.sharpe_ratio import sharpe_ratio as sharpe_ratio
from .evaluation.simulated_portfolio import simulate as simulate
from .evaluation.walk_forward import Evaluation as Evaluation
from .evaluation.walk_forward import EvaluationPolicy as EvaluationPolicy
from .evaluation.walk_forward import walk_forward as walk_forward
from .family import Family as Family
from .family import FittedModel as FittedModel
from .onnx.export import Fidelity as Fidelity
from .onnx.export import export as export
from .onnx.export import fidelity as fidelity
from .registry.card import Card as Card
from .registry.model_registry import Registry as Registry
from .training.train import TrainedModel as TrainedModel
from .training.train import train as train
from .training.tuning import tune as tune
from .zoo.registry import find as find
from .zoo.registry import names as names

__all__ = [
    "Card",
    "Dataset",
    "Evaluation",
    "EvaluationPolicy",
    "Family",
    "Fidelity",
    "FittedModel",
    "GatePolicy",
    "Registry",
    "TrainedModel",
    "deflated_sharpe",
    "export",
    "fidelity",
    "find",
    "information_coefficients",
    "judge",
    "make_dataset",
    "names",
    "newey_west_tstat",
    "permutation_test",
    "sharpe_ratio",
    "simulate",
    "train",
    "tune",
    "walk_forward",
]
