from .dataset import Dataset as Dataset
from .dataset import make_dataset as make_dataset
from .evaluation.gate import GatePolicy as GatePolicy
from .evaluation.gate import judge as judge
from .evaluation.permutation_test import permutation_test as permutation_test
from .evaluation.sharpe_ratio import deflated_sharpe as deflated_sharpe
from .evaluation.sharpe_ratio import sharpe_ratio as sharpe_ratio
from .evaluation.simulated_portfolio import simulate_portfolio as simulate_portfolio
from .evaluation.walk_forward import Evaluation as Evaluation
from .evaluation.walk_forward import EvaluationPolicy as EvaluationPolicy
from .evaluation.walk_forward import walk_forward as walk_forward
from .family import Family as Family
from .family import FittedModel as FittedModel
from .onnx.export import Fidelity as Fidelity
from .onnx.export import check_fidelity as check_fidelity
from .onnx.export import export_onnx as export_onnx
from .registry.card import Card as Card
from .registry.model_registry import Registry as Registry
from .training.train import TrainedModel as TrainedModel
from .training.train import train as train
from .training.training_run import TrainingRun as TrainingRun
from .training.tuning import tune as tune
from .zoo.registry import family_names as family_names
from .zoo.registry import find_family as find_family

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
    "TrainingRun",
    "check_fidelity",
    "deflated_sharpe",
    "export_onnx",
    "family_names",
    "find_family",
    "judge",
    "make_dataset",
    "permutation_test",
    "sharpe_ratio",
    "simulate_portfolio",
    "train",
    "tune",
    "walk_forward",
]
