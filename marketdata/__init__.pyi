from .calendars import days_of as days_of
from .calendars import session_closes as session_closes
from .configured_source import chosen_source as chosen_source
from .configured_source import newest_snapshot as newest_snapshot
from .feeds.failover import FailoverSource as FailoverSource
from .point_in_time.action_record import CorporateAction as CorporateAction
from .point_in_time.corporate_actions import apply as apply
from .point_in_time.external_series import attach as attach
from .point_in_time.membership import MembershipHistory as MembershipHistory
from .point_in_time.universe import Universe as Universe
from .point_in_time.vintages import Vintages as Vintages
from .quality.checks import check as check
from .quality.cleaning import Policies as Policies
from .quality.cleaning import clean as clean
from .quality.finding import Finding as Finding
from .quality.thresholds import Thresholds as Thresholds
from .source import LiveSource as LiveSource
from .source import Source as Source
from .sources.registry import SourceFamily as SourceFamily
from .sources.registry import find as find
from .sources.registry import names as names
from .storage.incremental import take as take
from .storage.incremental import update as update
from .storage.snapshots import Snapshot as Snapshot
from .storage.snapshots import SnapshotStore as SnapshotStore

__all__ = [
    "CorporateAction",
    "FailoverSource",
    "Finding",
    "LiveSource",
    "MembershipHistory",
    "Policies",
    "Snapshot",
    "SnapshotStore",
    "Source",
    "SourceFamily",
    "Thresholds",
    "Universe",
    "Vintages",
    "apply",
    "attach",
    "check",
    "chosen_source",
    "clean",
    "days_of",
    "find",
    "names",
    "newest_snapshot",
    "session_closes",
    "take",
    "update",
]
