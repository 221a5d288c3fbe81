"""What the granted permissions allow: each capability's cheapest calls, and what GitHub says each lacks."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from ingest.provider import Capability, Grant, Json, NotAllowed, Refused
from ingest.providers.github.calls import get, lacking

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

UNTRIED: Final = "changes are not tried out: grant what the README names"
NO_LOG: Final = "no audit log can be read: what the webhook brings is published instead"


async def read_grants(p: "GitHub") -> AsyncIterator[Grant]:
    """Say of each capability what is missing; a call that several need is made once."""
    lacks: dict[str, str] = {}
    log = await p.look_for_log()
    for capability, paths, said in _rows(p.settings.org, as_app=p.settings.as_app):
        missing, note = list[str](), said
        for path in paths:
            if path not in lacks:
                lacks[path] = await _lack(p, path)
            missing.append(lacks[path])
        if capability in {"logons", "user_activity", "admin_activity"} and log:
            if p.settings.audit_log is not False and (capability == "logons" or p.audited):
                missing.append(log)
            else:
                note = NO_LOG
        yield Grant(capability, tuple(dict.fromkeys(one for one in missing if one)), note)


def _rows(org: str, *, as_app: bool) -> tuple[tuple[Capability, tuple[str, ...], str], ...]:
    members, invited = f"{org}/members", f"{org}/invitations"
    tokens = (f"{org}/personal-access-tokens",) if as_app else ()
    apps = (f"{org}/installations", *tokens)
    return (
        ("accounts", (members, f"{org}/outside_collaborators", invited), ""),
        ("groups", (f"{org}/teams",), ""),
        ("privileges", (members, f"{org}/organization-roles", f"{org}/repos", f"{org}/teams"), ""),
        ("logons", (), "sign-ins are single sign-on responses; an organization without SAML has none"),
        ("user_activity", (), ""),
        ("admin_activity", (f"{org}/hooks",), ""),
        ("user_governance", (members, f"{org}/blocks"), UNTRIED),
        ("app_permissions", apps, "" if as_app else "fine-grained tokens are shown to GitHub Apps only"),
        ("revoke_app_permissions", apps, UNTRIED),
    )


async def _lack(p: "GitHub", path: str) -> str:
    """Name what a call lacks; empty: it may be made. A 404 hides a missing right."""
    params: dict[str, Json] = {} if path.endswith("-roles") else {"per_page": 1}
    try:
        reply = await get(p, path, ok=(404,), **params)
    except (NotAllowed, Refused) as error:
        return str(error)
    if reply.status != 404:
        return ""
    return f"{path.rpartition('/')[2]}: not found, which is how GitHub hides it{lacking(reply)}"
