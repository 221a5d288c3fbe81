"""The OCSF event classes we emit: slim, closed typed dictionaries, and the table of them.

Every event lists the profiles ``cloud`` and ``host``: they give it ``cloud``, ``api``, ``actor``, ``device``.
Literals hold what we emit, not the whole enum. ``schemas.validation`` checks events against these types;
tests hold types and events against the official schema. Source: OCSF 1.8.0, classes.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from schemas import what, who
from schemas.scalars import Count, Json, Millis, at_least_one, closed

VERSION: Final = "1.8.0"
"""The OCSF release spoken on the wire."""

Occurred = Annotated[int, Field(gt=100_000_000_000, le=253_402_300_799_999)]
"""Milliseconds since 1970; what is before 1973 is taken for seconds and refused."""
Severity = Literal[0, 1, 2, 3, 4, 5, 6, 99]
Status = Literal[0, 1, 2, 99]
Remedied = Literal[0, 1, 2, 3, 4, 5, 6, 99]


class Essentials(TypedDict, total=False):
    """What every event may carry."""

    type_uid: Required[int]
    time: Required[Occurred]
    severity_id: Required[Severity]
    metadata: Required[what.Metadata]
    cloud: Required[what.Cloud]
    activity_name: str
    device: what.Device
    message: str
    status: str
    status_code: str
    status_detail: str
    start_time: Millis
    end_time: Millis
    duration: Count
    count: Count
    observables: list[what.Observable]
    raw_data: str
    raw_data_size: Count
    raw_data_hash: what.Fingerprint
    unmapped: dict[str, Json]


class Acted(Essentials, total=False):
    """An event that may name who did it, and by which call."""

    actor: who.Actor
    api: what.Api


class Occurrence(Acted, total=False):
    """What every event but a finding or a remedy may carry: 1 success, 2 failure."""

    status_id: Status


class Called(Occurrence, total=False):
    """An occurrence that came over the network."""

    src_endpoint: what.Endpoint
    http_request: what.HttpRequest
    http_response: what.HttpResponse


@closed
class UserInventory(Occurrence, total=False):
    """User Inventory Info: an account, or the roles of one."""

    class_uid: Required[Literal[5003]]
    category_uid: Required[Literal[5]]
    activity_id: Required[Literal[2]]
    user: Required[who.User]


@at_least_one("resources")
class CloudResourcesInventoryInfo(Occurrence, total=False):
    """Cloud Resources Inventory Info: a group, an OAuth app, a file, a folder, a share or a bucket."""

    class_uid: Required[Literal[5023]]
    category_uid: Required[Literal[5]]
    activity_id: Required[Literal[2]]
    resources: Required[list[what.Resource]]
    region: str


@at_least_one("service", "dst_endpoint")
class Authentication(Called, total=False):
    """Authentication: 1 logon, 2 logoff, 6 preauth, 7 account switch; a failed logon is a status."""

    class_uid: Required[Literal[3002]]
    category_uid: Required[Literal[3]]
    activity_id: Required[Literal[0, 1, 2, 3, 6, 7, 99]]
    user: Required[who.User]
    service: what.Service
    dst_endpoint: what.Endpoint
    session: who.Session
    is_mfa: bool
    is_remote: bool
    is_new_logon: bool
    auth_factors: list[what.AuthFactor]
    auth_protocol: str
    auth_protocol_id: Literal[0, 4, 5, 6, 11, 12, 99]
    logon_type: str
    logon_type_id: Literal[0, 2, 3, 99]
    account_switch_type: str
    account_switch_type_id: Literal[0, 1, 2, 99]


@closed
class AccountChange(Called, total=False):
    """Account Change: 1 create, 2 enable, 5 disable, 6 delete, 7 and 8 policies, 10 and 11 MFA factors."""

    class_uid: Required[Literal[3001]]
    category_uid: Required[Literal[3]]
    activity_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99]]
    user: Required[who.User]
    user_result: who.User
    policies: list[who.Policy]
    auth_factors: list[what.AuthFactor]


@closed
class EntityManagement(Called, total=False):
    """Entity Management: a setting, policy, device or organisation was made, changed or removed."""

    class_uid: Required[Literal[3004]]
    category_uid: Required[Literal[3]]
    activity_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99]]
    entity: Required[what.ManagedEntity]
    entity_result: what.ManagedEntity
    comment: str
    access_list: list[str]


@closed
class UserAccess(Called, total=False):
    """User Access Management: 1 assign, 2 revoke privileges; a consent names its scopes and its app."""

    class_uid: Required[Literal[3005]]
    category_uid: Required[Literal[3]]
    activity_id: Required[Literal[0, 1, 2, 99]]
    user: Required[who.User]
    privileges: Required[list[str]]
    resources: list[what.Resource]


@closed
class AuthorizeSession(Called, total=False):
    """Authorize Session: privileges given to a session as it begins (an assumed role)."""

    class_uid: Required[Literal[3003]]
    category_uid: Required[Literal[3]]
    activity_id: Required[Literal[0, 1, 99]]
    user: Required[who.User]
    privileges: Required[list[str]]
    session: who.Session
    dst_endpoint: what.Endpoint


@closed
class GroupManagement(Called, total=False):
    """Group Management: 1 and 2 privileges, 3 and 4 users, 5 delete, 6 create, 7 and 8 subgroups."""

    class_uid: Required[Literal[3006]]
    category_uid: Required[Literal[3]]
    activity_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 99]]
    group: Required[who.Group]
    subgroup: who.Group
    user: who.User
    privileges: list[str]
    resource: what.Resource


@closed
class WebResourcesActivity(Called, total=False):
    """Web Resources Activity: 1 to 4 create, read, update, delete, 5 search, 6 import, 7 export, 8 share."""

    class_uid: Required[Literal[6001]]
    category_uid: Required[Literal[6]]
    activity_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 99]]
    web_resources: Required[list[what.WebResource]]
    web_resources_result: list[what.WebResource]
    dst_endpoint: what.Endpoint


@closed
class ApiActivity(Essentials, total=False):
    """API Activity: 1 create, 2 read, 3 update, 4 delete, 99 other; the class of what has none of its own."""

    class_uid: Required[Literal[6003]]
    category_uid: Required[Literal[6]]
    activity_id: Required[Literal[0, 1, 2, 3, 4, 99]]
    status_id: Status
    actor: Required[who.Actor]
    api: Required[what.Api]
    src_endpoint: Required[what.Endpoint]
    dst_endpoint: what.Endpoint
    http_request: what.HttpRequest
    http_response: what.HttpResponse
    resources: list[what.Resource]


@closed
class FileHosting(Essentials, total=False):
    """File Hosting Activity: 1 upload … 17 access check; 12 share, 13 unshare: readers in ``access_list``."""

    class_uid: Required[Literal[6006]]
    category_uid: Required[Literal[6]]
    activity_id: Required[Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 99]]
    status_id: Status
    actor: Required[who.Actor]
    api: what.Api
    file: Required[what.File]
    file_result: what.File
    src_endpoint: Required[what.Endpoint]
    dst_endpoint: what.Endpoint
    http_request: what.HttpRequest
    http_response: what.HttpResponse
    access_list: list[str]
    share: str
    expiration_time: Millis


@closed
class DataSecurityFinding(Acted, total=False):
    """Data Security Finding: 1 create, 2 update, 3 close, 4 suppress; status 1 new, 4 resolved, 6 deleted."""

    class_uid: Required[Literal[2006]]
    category_uid: Required[Literal[2]]
    activity_id: Required[Literal[1, 2, 3, 4]]
    status_id: Literal[0, 1, 2, 3, 4, 5, 6, 99]
    finding_info: Required[what.FindingInfo]
    data_security: what.DataSecurity
    file: what.File
    resources: list[what.Resource]
    comment: str
    is_alert: bool
    confidence_id: Literal[0, 1, 2, 3, 99]
    confidence_score: Count
    policy: who.Policy
    action_id: Literal[0, 1, 2, 3, 4, 99]
    impact_id: Literal[0, 1, 2, 3, 4, 99]
    priority_id: Literal[0, 1, 2, 3, 4, 99]
    verdict_id: Literal[0, 1, 2, 3, 4, 5, 6, 99]


@closed
class RemediationActivity(Acted, total=False):
    """Remediation Activity on a user, grant or share: 1 isolate, 2 evict, 3 restore, 4 harden."""

    class_uid: Required[Literal[7001]]
    category_uid: Required[Literal[7]]
    activity_id: Required[Literal[1, 2, 3, 4, 99]]
    status_id: Remedied
    command_uid: Required[str]
    remediation: what.Remediation
    scan: what.Scan


@closed
class FileRemediationActivity(Acted, total=False):
    """File Remediation Activity: the same on a file."""

    class_uid: Required[Literal[7002]]
    category_uid: Required[Literal[7]]
    activity_id: Required[Literal[1, 2, 3, 4, 99]]
    status_id: Remedied
    command_uid: Required[str]
    file: Required[what.File]
    remediation: what.Remediation
    scan: what.Scan


@closed
class ScanActivity(Occurrence, total=False):
    """Scan Activity: 1 started, 2 completed, 3 cancelled, 6 error, 7 paused, 8 resumed."""

    class_uid: Required[Literal[6007]]
    category_uid: Required[Literal[6]]
    activity_id: Required[Literal[1, 2, 3, 4, 6, 7, 8, 9, 10]]
    scan: Required[what.Scan]
    command_uid: str
    schedule_uid: str
    num_files: Count
    num_folders: Count
    num_detections: Count
    num_resolutions: Count
    num_skipped_items: Count
    num_trusted_items: Count
    total: Count


@closed
class ApplicationLifecycle(Occurrence, total=False):
    """Application Lifecycle: 1 install, 2 remove, 3 start, 4 stop, 6 enable, 7 disable, 8 update."""

    class_uid: Required[Literal[6002]]
    category_uid: Required[Literal[6]]
    activity_id: Required[Literal[1, 2, 3, 4, 5, 6, 7, 8, 99]]
    app: Required[who.Product]


@closed
class ApplicationError(Occurrence, total=False):
    """Application Error: 1 general, 2 a record that could not be mapped."""

    class_uid: Required[Literal[6008]]
    category_uid: Required[Literal[6]]
    activity_id: Required[Literal[0, 1, 2, 99]]


CLASSES: Final[Mapping[int, type]] = {
    2006: DataSecurityFinding, 3001: AccountChange, 3002: Authentication, 3003: AuthorizeSession,
    3004: EntityManagement, 3005: UserAccess, 3006: GroupManagement, 5003: UserInventory,
    5023: CloudResourcesInventoryInfo, 6001: WebResourcesActivity, 6002: ApplicationLifecycle,
    6003: ApiActivity, 6006: FileHosting, 6007: ScanActivity, 6008: ApplicationError,
    7001: RemediationActivity, 7002: FileRemediationActivity,
}  # fmt: skip
"""Class number → its type."""

INVENTORY: Final = frozenset({5003, 5023})
"""Classes whose events say what an entity is like now, not what happened."""


def _words(text: str) -> Mapping[int, str]:
    return {0: "unknown", 99: "other"} | dict(enumerate(text.split(), start=1))


_CRUD = "create read update delete "
_REMEDY = _words("isolate evict restore harden")
NAMES: Final[Mapping[int, tuple[str, Mapping[int, str]]]] = {
    2006: ("data_security_finding", _words("create update close suppressed")),
    3001: ("account_change", _words("create enable password_change password_reset disable delete "
                                    "attach_policy detach_policy lock mfa_factor_enable "
                                    "mfa_factor_disable unlock")),
    3002: ("authentication", _words("logon logoff authentication_ticket service_ticket_request "
                                    "service_ticket_renew preauth account_switch")),
    3003: ("authorize_session", _words("assign_privileges assign_groups")),
    3004: ("entity_management", _words(_CRUD + "move enroll unenroll enable disable activate deactivate "
                                               "suspend resume")),
    3005: ("user_access", _words("assign_privileges revoke_privileges")),
    3006: ("group_management", _words("assign_privileges revoke_privileges add_user remove_user delete "
                                      "create add_subgroup remove_subgroup")),
    5003: ("user_inventory", _words("log collect")),
    5023: ("cloud_resources_inventory_info", _words("log collect")),
    6001: ("web_resources_activity", _words(_CRUD + "search import export share")),
    6002: ("application_lifecycle", _words("install remove start stop restart enable disable update")),
    6003: ("api_activity", _words(_CRUD)),
    6006: ("file_hosting", _words("upload download update delete rename copy move restore preview lock "
                                  "unlock share unshare open sync unsync access_check")),
    6007: ("scan_activity", _words("started completed cancelled duration_violation pause_violation error "
                                   "paused resumed restarted delayed")),
    6008: ("application_error", _words("general_error translation_error")),
    7001: ("remediation_activity", _REMEDY),
    7002: ("file_remediation_activity", _REMEDY),
}  # fmt: skip
"""Class number → OCSF's name of the class and its activities' captions as words, for ``ce_type``."""
