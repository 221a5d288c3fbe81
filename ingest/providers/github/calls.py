"""Calls in GitHub's dialect: what a reply means, what it says is left, pages by their links, GraphQL.

Throttling is 403 or 429; which limit, only headers and the sentence tell. A missing right is 403 or, where
the thing itself is to be hidden, 404. GraphQL answers 200 with `errors`. Sources: "Rate limits for the REST
API", "Best practices for using the REST API", "Troubleshooting the REST API", "Rate limits … for the
GraphQL API".
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from ingest.paging import link_to, linked
from ingest.provider import Json, NotAllowed, Refused, Reply, Retry
from ingest.providers.github.settings import HEADERS

if TYPE_CHECKING:
    from ingest.providers.github import GitHub

READ: Final = {"primary": 1.0, "points": 1.0}
AUDIT: Final = {"audit": 1.0, "points": 1.0}
WRITE: Final = {"primary": 1.0, "points": 5.0, "writes": 1.0}
PATIENCE: Final = 60.0
"""Seconds to wait at least where a reply does not say how long."""
_BUCKETS: Final = {"core": "primary", "graphql": "graph", "audit_log": "audit"}


def ruling(reply: Reply) -> Exception | None:
    """Translate a reply into our error; None: judge it by its status."""
    if reply.status in {403, 429}:
        return _throttled(reply) or _forbidden(reply)
    if reply.status == 422:
        return Refused(f"GitHub declines: {_sentence(reply)}")
    if reply.status == 200 and isinstance(reply.json, dict) and "errors" in reply.json:
        return _graph_error(reply)
    return None


def quota(reply: Reply) -> Mapping[str, tuple[float, float | None]]:
    """Read what is left of the hour of the bucket that was charged."""
    bucket = _BUCKETS.get(reply.headers.get("x-ratelimit-resource", ""))
    left = reply.headers.get("x-ratelimit-remaining")
    return {bucket: (float(left), _reset(reply))} if bucket and left else {}


def _reset(reply: Reply) -> float | None:
    """Tell in how many seconds the hour begins anew, by the reply's own clock."""
    try:
        now = parsedate_to_datetime(reply.headers["date"]).timestamp()
        return max(1.0, float(reply.headers["x-ratelimit-reset"]) - now + 1)
    except (KeyError, ValueError, TypeError):
        return None


def _throttled(reply: Reply) -> Exception | None:
    said = _sentence(reply).lower()
    told = "retry-after" in reply.headers  # which the core reads
    if told or "secondary rate limit" in said or "abuse" in said:
        # The secondary limits count REST and GraphQL together.
        return Retry("GitHub's secondary rate limit", None if told else PATIENCE, everywhere=True)
    if reply.headers.get("x-ratelimit-remaining") == "0" or "rate limit exceeded" in said:
        bucket = _BUCKETS.get(reply.headers.get("x-ratelimit-resource", ""), "")
        return Retry("GitHub's hourly rate limit is used up", _reset(reply) or PATIENCE, bucket)
    return Retry("GitHub asks for patience", PATIENCE) if reply.status == 429 else None


def _forbidden(reply: Reply) -> Exception:
    if "x-github-sso" in reply.headers:
        return NotAllowed("the token is not authorized for the organization's single sign-on: authorize it")
    if "ip allow list" in _sentence(reply).lower():
        return NotAllowed("the organization's IP allow list does not have our address")
    return NotAllowed(f"GitHub refuses (403): {_sentence(reply)}{lacking(reply)}")


def lacking(reply: Reply) -> str:
    """Name what the call asks for, as its headers say."""
    asked = reply.headers.get("x-accepted-github-permissions")
    scopes = reply.headers.get("x-accepted-oauth-scopes")
    held = reply.headers.get("x-oauth-scopes")
    if held is not None and scopes:
        return f"; it needs one of the scopes {scopes}, and has {held or 'none'}"
    return f"; it needs {asked}" if asked else ""


def _sentence(reply: Reply) -> str:
    message = reply.json.get("message") if isinstance(reply.json, dict) else None
    errors = reply.json.get("errors") if isinstance(reply.json, dict) else None
    more = [one["message"] for one in errors or [] if isinstance(one, dict) and "message" in one]
    return "; ".join([str(message or "no reason given"), *map(str, more)])[:200]


def _graph_error(reply: Reply) -> Exception | None:
    errors = [one for one in reply.json["errors"] or [] if isinstance(one, dict)]
    kinds = {str(one.get("type")) for one in errors}
    if "RATE_LIMITED" in kinds:
        return Retry("GitHub's GraphQL limit is used up", _reset(reply) or PATIENCE, "graph")
    if kinds & {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
        return NotAllowed(f"GraphQL refuses: {', '.join(sorted(kinds))}")
    if reply.json.get("data") is None:
        return Retry("GraphQL answered with an error")
    return None


async def get(p: "GitHub", path: str, *, ok: Sequence[int] = (), api: str = "rest", **params: Json) -> Reply:
    """Read; `path` may be a link."""
    cost = {"points": 1.0} if api == "app" else AUDIT if path == p.settings.log else READ
    return await p.http.call(api, "GET", path, cost=cost, params=params, headers=HEADERS, ok=ok)


async def change(
    p: "GitHub", method: str, path: str, json: Json = None, *, ok: Sequence[int] = (), api: str = "rest"
) -> Reply:
    """Write, at most once a second."""
    cost = {"points": 5.0} if api == "app" else WRITE
    return await p.http.call(api, method, path, cost=cost, json=json, headers=HEADERS, ok=ok)


async def pages(
    p: "GitHub", path: str, under: str = "", *, grows: bool = False, **params: Json
) -> AsyncIterator[tuple[list[Json], str]]:
    """Read a list page by page, each with the link to the next one; `path` may be such a link.

    What `grows` (a log) is never as it was, so it is not asked whether it is.
    """
    http, cost = (p.http if grows else p.lists), (AUDIT if path == p.settings.log else READ)
    asked = {} if path.startswith("http") else {"per_page": 100, **params}
    async for reply in linked(http, "rest", path, params=asked, cost=cost, headers=HEADERS):
        found = reply.json[under] if under else reply.json
        if not isinstance(found, list):
            raise Retry("GitHub answered with something else than a list")
        yield found, link_to(reply)


async def everything(p: "GitHub", path: str, under: str = "", **params: Json) -> list[Json]:
    """Read a list whole."""
    return [one async for found, _ in pages(p, path, under, **params) for one in found]


async def graph(p: "GitHub", query: str, **variables: Json) -> Json:
    """Ask GraphQL; what may not be seen is null."""
    body = {"query": query, "variables": variables}
    reply = await p.http.call("graphql", "POST", "", json=body, headers=HEADERS)
    return reply.json["data"]


def provider_of(data: Json) -> Json:
    """Find the identity provider in an answer, in which whatever may not be seen is null."""
    owner = data.get("organization") or (data.get("enterprise") or {}).get("ownerInfo") or {}
    return owner.get("samlIdentityProvider") or {}
