from .client.async_client import AsyncPredictionClient as AsyncPredictionClient
from .client.client import PredictionClient as PredictionClient
from .client.replica import ClientSecurity as ClientSecurity
from .client.retry_policy import RetrySettings as RetrySettings
from .exports.bento import export_bento as export_bento
from .exports.exported_version import ExportedVersion as ExportedVersion
from .exports.triton import export_triton as export_triton
from .hosts.process import ProcessHost as ProcessHost
from .hosts.ray import RayHost as RayHost
from .inference.core import InferenceCore as InferenceCore
from .inference.core import build_core as build_core
from .inference.model_cache import LoadedModel as LoadedModel
from .log.logged_answers import LoggedAnswer as LoggedAnswer
from .log.logged_answers import distinct_answers as distinct_answers
from .log.prediction_log import PredictionLog as PredictionLog
from .log.prediction_row import PredictionRow as PredictionRow
from .log.reader import PredictionLogReader as PredictionLogReader
from .protocol.errors import DeadlineError as DeadlineError
from .protocol.errors import OverloadedError as OverloadedError
from .protocol.messages import InferenceRequest as InferenceRequest
from .protocol.messages import InferenceResponse as InferenceResponse
from .protocol.messages import InvalidRequestError as InvalidRequestError
from .protocol.messages import ModelDescription as ModelDescription
from .protocol.messages import VersionAnswer as VersionAnswer
from .protocol.status import status_of as status_of
from .security.signature import require_signature as require_signature
from .security.signature import sign_digest as sign_digest

__all__ = [
    "AsyncPredictionClient",
    "ClientSecurity",
    "DeadlineError",
    "ExportedVersion",
    "InferenceCore",
    "InferenceRequest",
    "InferenceResponse",
    "InvalidRequestError",
    "LoadedModel",
    "LoggedAnswer",
    "ModelDescription",
    "OverloadedError",
    "PredictionClient",
    "PredictionLog",
    "PredictionLogReader",
    "PredictionRow",
    "ProcessHost",
    "RayHost",
    "RetrySettings",
    "VersionAnswer",
    "build_core",
    "distinct_answers",
    "export_bento",
    "export_triton",
    "require_signature",
    "sign_digest",
    "status_of",
]
