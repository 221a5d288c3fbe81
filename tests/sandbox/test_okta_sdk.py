"""The official Okta SDK for Python, unchanged, takes the simulated org for an Okta."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from okta.client import Client
from okta.models import EventHook
from okta.pagination import PaginationHelper

from sandbox.authority import Authority
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import LOOSE, OktaTenant

Json = Any
# The SDK hands its TLS context to aiohttp under the old name.
pytestmark = pytest.mark.filterwarnings("ignore:ssl_context is deprecated:DeprecationWarning")
SCOPES = ["okta.users.manage", "okta.groups.read", "okta.logs.read", "okta.apps.read", "okta.roles.read"]


class Shared(ssl.SSLContext):
    """A context that survives the SDK's deep copy of its settings."""

    def __deepcopy__(self, memo: Json) -> "Shared":
        """Stay one: a context can't be copied."""
        return self


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One CA for the org and the hook's receiver."""
    return Authority()


@pytest.fixture(scope="module")
async def org(authority: Authority) -> AsyncIterator[OktaTenant]:
    """Run an org with TLS, as the SDK insists on https."""
    tenant = OktaTenant(users=450, limits=LOOSE)
    tenant.deliveries.trust = authority.client()
    seed_history(tenant, 60)
    async with running(tenant, authority.server()):
        yield tenant


def settings(org: OktaTenant, authority: Authority, mode: str) -> Json:
    """Write the SDK's settings for a way to sign in."""
    trust = Shared(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authority.pem())
    told = org.settings(oauth=mode != "token", dpop=mode == "dpop")
    where = {"orgUrl": org.url, "sslContext": trust, "logging": {"enabled": False}}
    if mode == "token":
        return {**where, "token": told["api_token"]}
    return {
        **where, "authorizationMode": "PrivateKey", "clientId": told["client_id"],
        "privateKey": told["private_key"],
        "kid": told["key_id"], "scopes": SCOPES, "dpopEnabled": mode == "dpop",
    }  # fmt: skip


@pytest.fixture(scope="module", params=["token", "oauth", "dpop"])
async def client(
    org: OktaTenant, authority: Authority, request: pytest.FixtureRequest
) -> AsyncIterator[Json]:
    """The SDK's client, signed in by an API token, by a key, and with DPoP."""
    async with Client(settings(org, authority, request.param)) as made:
        yield made


async def test_it_lists_users_over_pages(org: OktaTenant, client: Json) -> None:
    """All but the deprovisioned, each once, and one by id."""
    seen: list[str] = []
    after, more = None, True
    while more:
        page, response, error = await client.list_users(limit=200, after=after)
        assert error is None
        seen += [one.id for one in page]
        after = PaginationHelper.extract_next_cursor(response.headers)
        more = after is not None
    people = org.people
    whole = [people.get(index) for index in range(people.size)]
    assert seen == [one["id"] for one in whole if one["status"] != "DEPROVISIONED"]
    assert len(seen) > 400
    one, _, error = await client.get_user(seen[7])
    assert error is None
    assert one.profile.login == next(w["profile"]["login"] for w in whole if w["id"] == seen[7])


async def test_it_searches(client: Json) -> None:
    """A search with an order comes in that order."""
    found, _, error = await client.list_users(
        search='status eq "ACTIVE"', sort_by="lastUpdated", sort_order="asc", limit=50
    )
    assert error is None
    times = [one.last_updated for one in found]
    assert times == sorted(times)
    assert len(times) == 50


async def test_it_reads_the_rest(org: OktaTenant, client: Json) -> None:
    """Groups, members, apps, assignments, roles, grants and links become its models."""
    groups, _, error = await client.list_groups(limit=5)
    assert (error, len(groups)) == (None, 5)
    members, _, error = await client.list_group_users(groups[2].id, limit=10)
    assert error is None
    assert members
    apps, _, error = await client.list_applications(limit=9)
    assert (error, len(apps)) == (None, 9)
    assigned, _, error = await client.list_application_users(apps[0].id, limit=10)
    assert (error, len(assigned)) == (None, 10)
    admin, reader = org.people.get(0)["id"], org.people.get(8)["id"]
    roles, _, error = await client.list_assigned_roles_for_user(admin)
    assert (error, len(roles)) == (None, 1)
    admins, _, error = await client.list_users_with_role_assignments()
    assert error is None
    assert admin in [one.id for one in admins.value]
    for call in (client.list_user_grants, client.list_app_links):
        found, _, error = await call(reader)
        assert error is None
        assert found


async def test_it_reads_the_log(org: OktaTenant, client: Json) -> None:
    """Pages of a poll, whose `next` never ends."""
    first, response, error = await client.list_log_events(limit=40)
    assert error is None
    cursor = PaginationHelper.extract_next_cursor(response.headers)
    second, response, error = await client.list_log_events(limit=40, after=cursor)
    assert error is None
    assert PaginationHelper.extract_next_cursor(response.headers)
    known = {one.id for one in org.truth}
    uuids = [one.uuid for one in [*first, *second]]
    assert set(uuids) <= known
    assert len(uuids) == len(set(uuids))
    assert len(first) > 0


async def test_it_acts(org: OktaTenant, client: Json) -> None:
    """Suspend and back."""
    user = org.people.get(10)["id"]
    _, _, error = await client.suspend_user(user)
    assert error is None
    assert org.people.field(10, "status") == "SUSPENDED"
    _, _, error = await client.unsuspend_user(user)
    assert error is None
    assert org.people.field(10, "status") == "ACTIVE"


async def test_it_keeps_event_hooks(org: OktaTenant, authority: Authority) -> None:
    """Create, verify over TLS, list, deactivate, delete."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"verification": request.headers["x-okta-verification-challenge"]})

    app.router.add_get("/hook", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server()).start()
    asked = EventHook.from_dict(
        {
            "name": "sdk", "events": {"type": "EVENT_TYPE", "items": ["user.session.start"]},
            "channel": {
                "type": "HTTP", "version": "1.0.0",
                "config": {
                    "uri": f"https://127.0.0.1:{runner.addresses[0][1]}/hook",
                    "authScheme": {"type": "HEADER", "key": "Authorization", "value": "sdk-secret"},
                },
            },
        }
    )  # fmt: skip
    try:
        async with Client(settings(org, authority, "token")) as client:
            made, _, error = await client.create_event_hook(asked)
            assert error is None
            assert made.verification_status.value == "UNVERIFIED"
            verified, _, error = await client.verify_event_hook(made.id)
            assert error is None
            assert verified.verification_status.value == "VERIFIED"
            listed, _, error = await client.list_event_hooks()
            assert [one.id for one in listed] == [made.id]
            for call in (client.deactivate_event_hook, client.delete_event_hook):
                *_, error = await call(made.id)
                assert error is None
    finally:
        await runner.cleanup()
    assert not org.hooks.all
