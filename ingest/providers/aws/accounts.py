"""Reading people, groups and grants: IAM of each account, and IAM Identity Center where there is one.

One IAM listing (GetAccountAuthorizationDetails) has users, groups, roles and their policies; the credential
report knows passwords, MFA and keys, but is up to four hours old: users it does not know yet are asked one by
one. All are full reads; a page's cursor is IAM's marker. Sources: IAM API reference; IAM user guide, "Getting
credential reports"; Organizations, Identity Store and IAM Identity Center API references.
"""

import csv
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from ingest.provider import At, Axis, CursorLost, Json, Missing, NotAllowed, Page, Refused

if TYPE_CHECKING:
    from ingest.providers.aws import Aws

CLOSED = frozenset({"SUSPENDED", "PENDING_CLOSURE", "CLOSED"})


async def account_axes(p: "Aws") -> AsyncIterator[Axis]:
    """List our account and, with `organization`, its members that have no connection of their own."""
    yield Axis(p.instance.id, data={"account": ""})
    if not p.settings.organization:
        return
    elsewhere = p.elsewhere()
    token: dict[str, str] = {}
    while True:
        # An empty page with a token is legal.
        reply = await p.sessions.call("organizations", "list_accounts", **token)
        for one in reply["Accounts"]:
            number, state = one["Id"], one.get("State") or one.get("Status")
            if number != p.instance.id and number not in elsewhere and state not in CLOSED:
                yield Axis(number, data={"account": number})
        if not reply.get("NextToken"):
            return
        token = {"NextToken": reply["NextToken"]}


async def place_axes(p: "Aws") -> AsyncIterator[Axis]:
    """List each account in each region."""
    async for axis in account_axes(p):
        for region in p.settings.regions:
            yield Axis(
                f"{axis.key}/{region}",
                tags=frozenset({axis.key, region}),
                data=axis.data | {"region": region},
            )


async def read_accounts(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Read IAM users with their credentials and the root user, then the people of Identity Center."""
    account, number = at.axis.data["account"], at.axis.key
    cursor = at.cursor or {}
    if "store" not in cursor:
        report = await _report(p, account)
        root = {"kind": "root", "account": number, "report": report.get("<root_account>")}
        first = not cursor
        async for details, marker in _details(p, account, "User", cursor.get("iam")):
            records = [root] if first else []
            first = False
            for user in details["UserDetailList"]:
                known = report.get(user["UserName"]) or await _credentials(p, account, user["UserName"])
                records.append({"kind": "user", "account": number, "user": user, "report": known})
            yield Page(records, cursor={"iam": marker} if marker else {"store": None})
    async for store, region, page, following in _stores(p, at, "list_users"):
        people = [
            {"kind": "person", "store": store, "region": region, "user": user} for user in page["Users"]
        ]
        yield Page(people, cursor=following)
    yield Page([], complete=True)


async def read_groups(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Read IAM groups with their members and policies, then Identity Center's groups."""
    account, number = at.axis.data["account"], at.axis.key
    cursor = at.cursor or {}
    if "store" not in cursor:
        members = await _members(p, account)
        async for details, marker in _details(p, account, "Group", cursor.get("iam")):
            records = [
                {"account": number, "group": group, "members": members.get(group["GroupName"], [])}
                for group in details["GroupDetailList"]
            ]
            yield Page(records, cursor={"iam": marker} if marker else {"store": None})
    async for store, region, page, following in _stores(p, at, "list_groups"):
        records = [
            {"store": store, "group": group, "members": await _membership(p, store, region, group["GroupId"])}
            for group in page["Groups"]
        ]
        yield Page(records, cursor=following)
    yield Page([], complete=True)


async def read_privileges(p: "Aws", at: At) -> AsyncIterator[Page]:
    """Read which policies each user and role holds, a user's groups included."""
    account, number = at.axis.data["account"], at.axis.key
    groups: dict[str, Json] = {}
    async for details, _ in _details(p, account, "Group"):
        groups |= {group["GroupName"]: group for group in details["GroupDetailList"]}
    kinds = ("User", "Role")
    cursor = at.cursor or {"kind": "User"}
    for kind in kinds[kinds.index(cursor["kind"]) :]:
        start = cursor.get("iam") if kind == cursor["kind"] else None
        async for details, marker in _details(p, account, kind, start):
            records = [
                {
                    "account": number,
                    "principal": one,
                    "groups": [groups[name] for name in one.get("GroupList", []) if name in groups],
                }
                for one in details[f"{kind}DetailList"]
            ]
            following = {"kind": kind, "iam": marker} if marker else {"kind": "Role", "iam": None}
            done = kind == "Role" and not marker
            yield Page(records, cursor=None if done else following, complete=done)


async def _details(
    p: "Aws", account: str, kind: str, marker: str | None = None
) -> AsyncIterator[tuple[Json, str | None]]:
    """Page through one kind of principal; a resumed read whose marker IAM has forgotten begins anew."""
    while True:
        asked = {"Marker": marker} if marker else {}
        try:
            reply = await p.sessions.call(
                "iam",
                "get_account_authorization_details",
                account=account,
                Filter=[kind],
                MaxItems=1000,
                **asked,
            )
        except Refused as error:
            if marker:
                raise CursorLost("IAM does not know the marker any more", gap=False) from error
            raise
        marker = reply.get("Marker") if reply["IsTruncated"] else None
        yield _plain(reply), marker
        if not marker:
            return


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
    try:
        await p.sessions.call("iam", "get_login_profile", account=account, UserName=name)
        made = {"password_enabled": "true"}
    except Missing:
        made = {"password_enabled": "false"}
    devices = await p.sessions.call("iam", "list_mfa_devices", account=account, UserName=name)
    made["mfa_active"] = str(bool(devices["MFADevices"])).lower()
    keys = await p.sessions.call("iam", "list_access_keys", account=account, UserName=name)
    for number, key in enumerate(keys["AccessKeyMetadata"], start=1):
        made[f"access_key_{number}_active"] = str(key["Status"] == "Active").lower()
    return made


async def _members(p: "Aws", account: str) -> dict[str, list[Json]]:
    members: dict[str, list[Json]] = {}
    async for details, _ in _details(p, account, "User"):
        for user in details["UserDetailList"]:
            for group in user.get("GroupList", []):
                members.setdefault(group, []).append({"uid": user["UserId"], "name": user["UserName"]})
    return members


async def _stores(p: "Aws", at: At, operation: str) -> AsyncIterator[tuple[str, str, Json, Json]]:
    """Page through every identity store of our account: store, region, page and the cursor after it."""
    if at.axis.key != p.instance.id or not p.settings.identity_center:
        return
    region = p.settings.home
    try:
        reply = await p.sessions.call("sso-admin", "list_instances", region=region)
    except NotAllowed as error:
        raise NotAllowed(f"{error}; or set identity_center to false") from error
    stores = sorted(one["IdentityStoreId"] for one in reply["Instances"])
    cursor = at.cursor or {}
    for store in stores:
        if store < (cursor.get("store") or ""):
            continue
        token = cursor.get("token") if store == cursor.get("store") else None
        while True:
            asked = {"NextToken": token} if token else {}
            asked["IdentityStoreId"] = store
            page = _plain(await p.sessions.call("identitystore", operation, region=region, **asked))
            token = page.get("NextToken")
            # "~" sorts after every character of a store's id: this store is done.
            yield store, region, page, {"store": store, "token": token} if token else {"store": f"{store}~"}
            if not token:
                break


async def _membership(p: "Aws", store: str, region: str, group: str) -> list[Json]:
    members: list[Json] = []
    asked: dict[str, Json] = {"IdentityStoreId": store, "GroupId": group}
    while True:
        page = await p.sessions.call("identitystore", "list_group_memberships", region=region, **asked)
        members += [{"uid": one["MemberId"].get("UserId")} for one in page["GroupMemberships"]]
        if not page.get("NextToken"):
            return members
        asked["NextToken"] = page["NextToken"]
