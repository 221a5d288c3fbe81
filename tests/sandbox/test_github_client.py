"""PyGithub, as published, works against the simulated GitHub: it speaks the real dialect.

PyGithub has no method for the audit log; the log is read through its own requester and page walk.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any

import github
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.github.seed import connect, owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant

SWIFT: Any = {"seconds_between_requests": 0, "seconds_between_writes": 0}


@pytest.fixture(scope="module")
async def tenant() -> AsyncIterator[GitHubTenant]:
    """An organisation with more than a page of everything."""
    async with running(seed(members=130, repos=240, teams=6, events=120)) as tenant:
        yield tenant


@pytest.fixture
def integration(tenant: GitHubTenant) -> Any:
    """The client signed in as the App, on the Enterprise Server's form of the address."""
    told = connect(tenant)
    auth = github.Auth.AppAuth(told["app_id"], told["private_key"])
    return github.GithubIntegration(auth=auth, base_url=tenant.url + "/api/v3", **SWIFT)


@pytest.fixture
async def client(tenant: GitHubTenant, integration: Any) -> Any:
    """The client signed in as the installation."""
    number = int(connect(tenant)["installation_id"])
    return await asyncio.to_thread(integration.get_github_for_installation, number)


@pytest.fixture
async def owner(tenant: GitHubTenant) -> Any:
    """The client signed in with the owner's token."""
    return github.Github(auth=github.Auth.Token(owner_token(tenant)), base_url=tenant.url, **SWIFT)


async def walked(what: Callable[[], Any]) -> list[Any]:
    """All pages of a list, read in a thread as the client is synchronous."""
    return await asyncio.to_thread(lambda: list(what()))


async def test_the_app_signs_in(tenant: GitHubTenant, integration: Any) -> None:
    """The client's own JWT is taken, the App and its installation are found."""
    app = await asyncio.to_thread(integration.get_app)
    (own,) = await walked(integration.get_installations)
    token = await asyncio.to_thread(integration.get_access_token, own.id)
    assert (app.id, own.app_id) == (tenant.access.app.id, tenant.access.app.id)
    assert token.token in tenant.issued()
    assert 3500 < token.expires_at.timestamp() - tenant.clock.now() <= 3600


async def test_members_are_walked(tenant: GitHubTenant, client: Any) -> None:
    """Every member comes once over five pages, and the role filter keeps the owners."""
    org = await asyncio.to_thread(client.get_organization, "acme")
    people = await walked(org.get_members)
    owners = await walked(lambda: org.get_members(role="admin"))
    outside = await walked(org.get_outside_collaborators)
    assert [one.id for one in people] == list(tenant.org.members)
    assert [one.id for one in owners] == tenant.org.admins()
    assert [one.id for one in outside] == list(tenant.org.outsiders)


async def test_teams_with_people_and_repositories(tenant: GitHubTenant, client: Any) -> None:
    """Teams, their members and the roles on repositories are read by the links that the API gives."""
    org = await asyncio.to_thread(client.get_organization, "acme")
    teams = await walked(org.get_teams)
    assert [one.id for one in teams] == list(tenant.org.teams)
    own = tenant.org.teams[teams[2].id]
    assert {one.id for one in await walked(teams[2].get_members)} == set(own.people)
    assert {one.id for one in await walked(teams[2].get_repos)} == set(own.repos)


async def test_repositories_and_collaborators(tenant: GitHubTenant, client: Any) -> None:
    """All repositories come once; direct collaborators are those that were added."""
    org = await asyncio.to_thread(client.get_organization, "acme")
    repos = await walked(org.get_repos)
    assert [one.id for one in repos] == tenant.org.estate.ids()[::-1]
    repo = next(one for one in repos if tenant.org.estate.collaborators(one.id))
    direct = await walked(lambda: repo.get_collaborators(affiliation="direct"))
    assert {one.id for one in direct} == set(tenant.org.estate.collaborators(repo.id))


async def test_installations_of_the_organisation(tenant: GitHubTenant, client: Any) -> None:
    """Everybody's Apps with what they may do."""
    org = await asyncio.to_thread(client.get_organization, "acme")
    apps = await walked(org.get_installations)
    held = {one.id: one.permissions for one in tenant.org.installations.values()}
    assert {one.id: one.raw_data["permissions"] for one in apps} == held


async def test_audit_log_by_the_clients_pages(tenant: GitHubTenant, owner: Any) -> None:
    """The cursors of the Link header lead the client through every event once, oldest first."""
    org = await asyncio.to_thread(owner.get_organization, "acme")
    parameters = {"include": "all", "order": "asc", "per_page": 50}
    plain = github.HookDelivery.HookDeliverySummary
    pages = github.PaginatedList.PaginatedList(plain, owner.requester, f"{org.url}/audit-log", parameters)
    events = [one.raw_data for one in await walked(lambda: pages)]
    happened = [one for one in tenant.truth if one.id and not one.business]
    assert {one["_document_id"] for one in events} == {one.id for one in happened}
    assert len(events) == len(happened)
    assert [one["@timestamp"] for one in events] == sorted(one["@timestamp"] for one in events)


async def test_a_hook_is_pinged_and_signed(tenant: GitHubTenant, client: Any) -> None:
    """A registered hook gets a signed ping, another on request, and the client lists both deliveries."""
    got: list[tuple[str, bool]] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        right = "sha256=" + hmac.new(b"planted", body, hashlib.sha256).hexdigest()
        got.append((request.headers["X-GitHub-Event"], request.headers["X-Hub-Signature-256"] == right))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    async with TestServer(app) as receiver:
        org = await asyncio.to_thread(client.get_organization, "acme")
        config = {"url": str(receiver.make_url("/hook")), "content_type": "json", "secret": "planted"}
        hook = await asyncio.to_thread(org.create_hook, "web", config, ["organization"], active=True)
        await asyncio.to_thread(hook.ping)
        await tenant.webhooks.drained()
        listed = await walked(lambda: org.get_hook_deliveries(hook.id))
        detail = await asyncio.to_thread(org.get_hook_delivery, hook.id, listed[0].id)
        await asyncio.to_thread(hook.delete)
        left = await walked(org.get_hooks)
    assert got == [("ping", True), ("ping", True)]
    assert [(one.event, one.status) for one in listed] == [("ping", "OK")] * 2
    assert detail.request.headers["X-GitHub-Event"] == "ping"
    assert left == []


async def test_a_missing_right_is_the_clients_own_error(tenant: GitHubTenant, client: Any) -> None:
    """403 and 404 become the exceptions that users of the client know."""
    with pytest.raises(github.UnknownObjectException):
        await asyncio.to_thread(client.get_organization, "other")
    blind = github.Github(
        auth=github.Auth.Token(tenant.access.person("acme-owner", 1_000_001)), base_url=tenant.url, **SWIFT
    )
    org = await asyncio.to_thread(blind.get_organization, "acme")
    with pytest.raises(github.GithubException) as refused:
        await walked(org.get_members)
    assert refused.value.status == 403
