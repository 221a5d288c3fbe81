"""Reading people, groups and grants: IAM of each account, and IAM Identity Center where there is one.

One IAM listing (GetAccountAuthorizationDetails) has users, groups, roles and their policies; the credential
report knows passwords, MFA and keys, but is up to four hours old: users it does not know yet are asked one by
one. All are full reads; a page's cursor is IAM's marker. Sources: IAM API reference; IAM user guide, "Getting
credential reports"; Organizations, Identity Store and IAM Identity Center API references.
"""

import csv
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import orjson

from ingest.provider import At, Axis, CursorLost, Json, Missing, NotAllowed, Page, Refused, feed
from ingest.providers.aws import people
from ingest.providers.aws.session import pages

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

CLOSED: Final = frozenset({"SUSPENDED", "PENDING_CLOSURE", "CLOSED"})
_OFTEN: Final = timedelta(minutes=30)


async def account_axes(p: "Aws") -> AsyncIterator[Axis]:
    """List our account and, with `organization`, its members that have no connection of their own."""
    yield Axis(p.instance.id, data={"account": ""})
    if not p.settings.organization:
        return
    left_out = p.elsewhere() | {p.instance.id}
    async for reply in pages(p.sessions, "organizations", "list_accounts"):
        for one in reply["Accounts"]:
            if one["Id"] not in left_out and (one.get("State") or one.get("Status")) not in CLOSED:
                yield Axis(one["Id"], data={"account": one["Id"]})


async def place_axes(p: "Aws") -> AsyncIterator[Axis]:
    """List each account in each region."""
    async for axis in account_axes(p):
        for region in p.settings.regions:
            tags = frozenset({axis.key, region})
            yield Axis(f"{axis.key}/{region}", tags=tags, data=axis.data | {"region": region})


@feed("accounts", to=people.account, every=_OFTEN, per=account_axes)
async def accounts(p: "Aws", at: At) -> AsyncIterator[Page]:
    """IAM users, the root user, the people of Identity Center; passwords and keys up to 4 hours late."""
    account, number = at.axis.data["account"], at.axis.key
    cursor = at.cursor or {}
    if "store" not in cursor:
        report = await _report(p, account)
        root = {"kind": "root", "account": number, "report": report.get("<root_account>")}
        records = [] if cursor else [root]
        async for users, marker in _details(p, account, "User", cursor.get("iam")):
            for user in users:
                known = report.get(user["UserName"]) or await _credentials(p, account, user["UserName"])
                records.append({"kind": "user", "account": number, "user": user, "report": known})
            yield Page(records, cursor={"iam": marker} if marker else {"store": None})
            records = []
    async for store, page, following in _stores(p, at, "list_users"):
        persons = [{"kind": "person", "store": store, "user": user} for user in page["Users"]]
        yield Page(persons, cursor=following)
    yield Page([], complete=True)


@feed("groups", to=people.group, every=_OFTEN, per=account_axes)
async def groups(p: "Aws", at: At) -> AsyncIterator[Page]:
    """IAM's and Identity Center's groups and their members."""
    account, number = at.axis.data["account"], at.axis.key
    cursor = at.cursor or {}
    if "store" not in cursor:
        members = await _members(p, account)
        async for found, marker in _details(p, account, "Group", cursor.get("iam")):
            records = [
                {"account": number, "group": one, "members": members.get(one["GroupName"], [])}
                for one in found
            ]
            yield Page(records, cursor={"iam": marker} if marker else {"store": None})
    async for store, page, following in _stores(p, at, "list_groups"):
        records = [
            {"store": store, "group": one, "members": await _membership(p, store, one["GroupId"])}
            for one in page["Groups"]
        ]
        yield Page(records, cursor=following)
    yield Page([], complete=True)


@feed("privileges", to=people.privilege, every=_OFTEN, per=account_axes)
async def privileges(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Policies of users and roles, those of a user's groups included."""
    account, number = at.axis.data["account"], at.axis.key
    held = {one["GroupName"]: one async for found, _ in _details(p, account, "Group") for one in found}
    cursor = at.cursor or {"kind": "User"}
    for kind, following in (("User", {"kind": "Role"}), ("Role", None)):
        if (kind, cursor["kind"]) == ("User", "Role"):
            continue
        start = cursor.get("iam") if kind == cursor["kind"] else None
        async for found, marker in _details(p, account, kind, start):
            records = [
                {
                    "account": number,
                    "principal": one,
                    "groups": [held[name] for name in one.get("GroupList", []) if name in held],
                }
                for one in found
            ]
            then = {"kind": kind, "iam": marker} if marker else following
            yield Page(records, cursor=then, complete=then is None)


async def _details(
    p: "Aws", account: str, kind: str, marker: str | None = None
) -> AsyncIterator[tuple[Json, str | None]]:
    """Page through one kind of principal; a resumed read whose marker IAM has forgotten begins anew."""
    asked = {"Marker": marker} if marker else {}
    replies = pages(
        p.sessions, "iam", "get_account_authorization_details", mark="Marker", account=account,
        Filter=[kind], MaxItems=1000, **asked,
    )  # fmt: skip
    try:
        async for reply in replies:
            marker = reply.get("Marker")
            yield _plain(reply[f"{kind}DetailList"]), marker
    except Refused as error:
        if marker:
            raise CursorLost("IAM does not know the marker any more", gap=False) from error
        raise


def _plain(reply: Json) -> Json:
    """Make JSON of an answer: the SDK opens times."""
    return orjson.loads(orjson.dumps(reply, option=orjson.OPT_UTC_Z))


async def _report(p: "Aws", account: str) -> dict[str, Json]:
    """Read the credential report by user name; one that is not ready yet is a `Retry`, see `errors`."""
    # LimitExceeded: it was asked for moments ago; what was made then is read.
    with suppress(Refused):
        await p.sessions.call("iam", "generate_credential_report", account=account)
    reply = await p.sessions.call("iam", "get_credential_report", account=account)
    return {row["user"]: row for row in csv.DictReader(reply["Content"].decode().splitlines())}


async def _credentials(p: "Aws", account: str, name: str) -> dict[str, str]:
    """Ask for what the report would say of a user that is younger than it."""
    console = True
    try:
        await p.sessions.call("iam", "get_login_profile", account=account, UserName=name)
    except Missing:
        console = False
    devices = await p.sessions.call("iam", "list_mfa_devices", account=account, UserName=name)
    keys = await p.sessions.call("iam", "list_access_keys", account=account, UserName=name)
    flags = {"password_enabled": console, "mfa_active": bool(devices["MFADevices"])}
    for number, key in enumerate(keys["AccessKeyMetadata"], start=1):
        flags[f"access_key_{number}_active"] = key["Status"] == "Active"
    return {name: str(flag).lower() for name, flag in flags.items()}


async def _members(p: "Aws", account: str) -> dict[str, list[Json]]:
    members: dict[str, list[Json]] = {}
    async for users, _ in _details(p, account, "User"):
        for user in users:
            for group in user.get("GroupList", []):
                members.setdefault(group, []).append({"uid": user["UserId"], "name": user["UserName"]})
    return members


async def _stores(p: "Aws", at: At, operation: str) -> AsyncIterator[tuple[str, Json, Json]]:
    """Page through every identity store of our account: store, page and the cursor after it."""
    if at.axis.key != p.instance.id or not p.settings.identity_center:
        return
    try:
        reply = await p.sessions.call("sso-admin", "list_instances")
    except NotAllowed as error:
        raise NotAllowed(f"{error}; or set identity_center to false") from error
    cursor = at.cursor or {}
    for store in sorted(one["IdentityStoreId"] for one in reply["Instances"]):
        begun = cursor.get("store") or ""
        if store < begun:
            continue
        asked = {"NextToken": cursor["token"]} if store == begun else {}
        async for page in pages(p.sessions, "identitystore", operation, IdentityStoreId=store, **asked):
            # "~" sorts after every character of a store's id: this store is done.
            token = page.get("NextToken")
            yield store, _plain(page), {"store": store, "token": token} if token else {"store": f"{store}~"}


async def _membership(p: "Aws", store: str, group: str) -> list[Json]:
    asked = {"IdentityStoreId": store, "GroupId": group}
    replies = pages(p.sessions, "identitystore", "list_group_memberships", **asked)
    return [
        {"uid": one["MemberId"].get("UserId")} async for page in replies for one in page["GroupMemberships"]
    ]
