"""The audit log of the organisation and of the enterprise."""

from sandbox.github.answers import Answer, Refused, missing
from sandbox.github.audit import Entry
from sandbox.github.call import Call, route
from sandbox.github.paging import cursor, cursor_link, position
from sandbox.github.phrase import search
from sandbox.github.tenant import GitHubTenant

_QUERY = ("phrase", "include", "after", "before", "order", "per_page", "page")


@route(
    "GET",
    "/orgs/{org}/audit-log",
    permission="organization_administration=read",
    scopes=("read:audit_log", "admin:org"),
    query=_QUERY[:-1],
    bucket="audit_log",
)
def org_log(tenant: GitHubTenant, call: Call) -> Answer:
    """The organisation's events."""
    return _page(tenant, call, enterprise=False)


@route(
    "GET",
    "/enterprises/{enterprise}/audit-log",
    permission="no",
    only=("oauth",),
    scopes=("read:audit_log", "admin:enterprise"),
    query=_QUERY,
    bucket="audit_log",
)
def enterprise_log(tenant: GitHubTenant, call: Call) -> Answer:
    """The enterprise's events and those of its organisations."""
    return _page(tenant, call, enterprise=True)


def _page(tenant: GitHubTenant, call: Call, *, enterprise: bool) -> Answer:
    include = call.choice("include", "web", ("web", "git", "all"))
    down = call.choice("order", "desc", ("asc", "desc")) == "desc"
    after, before = call.query.get("after", ""), call.query.get("before", "")
    if after and before:
        raise Refused(422, "after and before cannot be used together.")
    if not tenant.org.login:
        raise missing()
    entries, more = tenant.log.page(
        tenant.ms,
        search(call.query.get("phrase", "")),
        include=include,
        descending=down,
        after=_place(after or before) if after or before else None,
        before=bool(before),
        size=call.size,
        enterprise=enterprise,
    )
    rels: dict[str, tuple[str, str]] = {}
    if entries and (more or before):
        rels["next"] = ("after", _cursor(entries[-1]))
    if entries and (after or (before and more)):
        rels["first"] = ("after", "")
        rels["prev"] = ("before", _cursor(entries[0]))
    where = "" if enterprise else f"/organizations/{tenant.org.id}/audit-log"
    link = cursor_link(call, rels, where)
    return Answer([one.record for one in entries], headers={"Link": link} if link else {})


def _cursor(entry: Entry) -> str:
    return cursor(str(entry.at), entry.id)


def _place(text: str) -> tuple[int, str]:
    parts = position(text)
    if len(parts) != 2 or not parts[0].isdecimal():
        raise Refused(422, "Invalid cursor.")
    return int(parts[0]), parts[1]
