from .calendars import days_of as days_of
from .calendars import session_closes as session_closes
from .configured_source import chosen_source as chosen_source
from .configured_source import newest_snapshot as newest_snapshot
from .feeds.failover import FailoverSource as FailoverSource
from .point_in_time.action_record import CorporateAction as CorporateAction
from .point_in_time.corporate_actions import apply_actions as apply_actions
from .point_in_time.external_series import attach_series as attach_series
from .point_in_time.membership import MembershipHistory as MembershipHistory
from .point_in_time.universe import Universe as Universe
from .quality.checks import check_bars as check_bars
from .quality.cleaning import Policies as Policies
from .quality.cleaning import clean_bars as clean_bars
from .quality.finding import Finding as Finding
from .quality.thresholds import Thresholds as Thresholds
from .source import LiveSource as LiveSource
from .source import Source as Source
from .sources.registry import SourceFamily as SourceFamily
from .sources.registry import find_source as find_source
from .sources.registry import source_names as source_names
from .storage.incremental import store_base_snapshot as store_base_snapshot
from .storage.incremental import update_snapshot as update_snapshot
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
    "apply_actions",
    "attach_series",
    "check_bars",
    "chosen_source",
    "clean_bars",
    "days_of",
    "find_source",
    "newest_snapshot",
    "session_closes",
    "source_names",
    "store_base_snapshot",
    "update_snapshot",
]
