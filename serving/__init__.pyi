from .client.async_client import AsyncPredictionClient as AsyncPredictionClient
from .client.client import PredictionClient as PredictionClient
from .client.replica import Security as Security
from .client.retry_policy import Patience as Patience
from .exports.bento import export_bento as export_bento
from .exports.exported_version import ExportedVersion as ExportedVersion
from .exports.triton import export_triton as export_triton
from .hosts.process import ProcessHost as ProcessHost
from .hosts.ray import RayHost as RayHost
from .inference.core import InferenceCore as InferenceCore
from .inference.core import build as build
from .inference.model_cache import LoadedModel as LoadedModel
from .log.prediction_log import PredictionLog as PredictionLog
from .log.prediction_row import PredictionRow as PredictionRow
from .log.reader import PredictionLogReader as PredictionLogReader
from .protocol.errors import DeadlineError as DeadlineError
from .protocol.errors import OverloadedError as OverloadedError
from .protocol.messages import InferenceRequest as InferenceRequest
from .protocol.messages import InferenceResponse as InferenceResponse
from .protocol.messages import InvalidRequestError as InvalidRequestError
from .protocol.messages import ModelDescription as ModelDescription
from .protocol.status import failure_of as failure_of
from .security.signature import require_signature as require_signature
from .security.signature import sign as sign

__all__ = [
    "AsyncPredictionClient",
    "DeadlineError",
    "ExportedVersion",
    "InferenceCore",
    "InferenceRequest",
    "InferenceResponse",
    "InvalidRequestError",
    "LoadedModel",
    "ModelDescription",
    "OverloadedError",
    "Patience",
    "PredictionClient",
    "PredictionLog",
    "PredictionLogReader",
    "PredictionRow",
    "ProcessHost",
    "RayHost",
    "Security",
    "build",
    "export_bento",
    "export_triton",
    "failure_of",
    "require_signature",
    "sign",
]
