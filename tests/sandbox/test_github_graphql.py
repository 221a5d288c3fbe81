"""The simulated graph: identities, verified addresses, costs, and errors that come with HTTP 200."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.github.query import Unreadable, read
from sandbox.github.seed import FIRST_USER, owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant

IDENTITIES = """
query Identities($org: String!, $size: Int = 4, $after: String) {
  organization(login: $org) {
    samlIdentityProvider {
      externalIdentities(first: $size, after: $after, membersOnly: true) {
        totalCount
        pageInfo { hasNextPage endCursor }
        nodes { guid samlIdentity { nameId emails { value } } scimIdentity { username } user { ...who } }
      }
    }
  }
}
fragment who on User { databaseId login addresses: organizationVerifiedDomainEmails(login: $org) }
"""
LIST = (
    'organization(login: "acme") { samlIdentityProvider { externalIdentities%s'
    " { nodes { guid user { login } } } } }"
)


@pytest.fixture
async def tenant() -> AsyncIterator[GitHubTenant]:
    """Ten members."""
    async with running(seed(members=10, repos=5, events=0)) as tenant:
        yield tenant


class Asker:
    """Asks the graph."""

    def __init__(self, tenant: GitHubTenant, session: aiohttp.ClientSession) -> None:
        self._tenant, self._session = tenant, session
        self.headers = {"Authorization": f"Bearer {owner_token(tenant)}"}
        self.seen: dict[str, str] = {}

    async def __call__(self, query: Any, form: str = "/graphql", **variables: Any) -> Any:
        """The body of the answer, which is always 200."""
        told = {"query": query, "variables": variables}
        async with self._session.post(self._tenant.url + form, json=told, headers=self.headers) as answer:
            assert answer.status == 200
            self.seen = dict(answer.headers)
            return await answer.json()


@pytest.fixture
async def ask(tenant: GitHubTenant) -> AsyncIterator[Asker]:
    """The owner asks."""
    async with aiohttp.ClientSession() as session:
        yield Asker(tenant, session)


@pytest.mark.parametrize("form", ["/graphql", "/api/graphql"])
async def test_identities_are_walked(tenant: GitHubTenant, ask: Asker, form: str) -> None:
    """Each member's NameID, SCIM name and verified address come once over the cursors."""
    found: dict[int, tuple[str, list[str]]] = {}
    after, more = None, True
    while more:
        body = await ask(IDENTITIES, form, org="acme", after=after)
        page = body["data"]["organization"]["samlIdentityProvider"]["externalIdentities"]
        assert "errors" not in body
        assert page["totalCount"] == 10
        for one in page["nodes"]:
            assert one["samlIdentity"]["nameId"] == one["scimIdentity"]["username"]
            found[one["user"]["databaseId"]] = (one["samlIdentity"]["nameId"], one["user"]["addresses"])
        more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
    people = [tenant.org.users[one] for one in tenant.org.members]
    assert found == {one.id: (one.name_id, [one.email]) for one in people}


async def test_an_unlinked_identity_has_no_user(tenant: GitHubTenant, ask: Asker) -> None:
    """Who left keeps the identity, whose user is null."""
    tenant.org.members.popitem()
    body = await ask("{" + LIST % "(first: 100)" + "}")
    nodes = body["data"]["organization"]["samlIdentityProvider"]["externalIdentities"]["nodes"]
    assert [one["user"] is None for one in nodes] == [False] * 9 + [True]


async def test_null_nodes_beside_errors(tenant: GitHubTenant, ask: Asker) -> None:
    """A user whom the caller may not see is null, with an error that has the path."""
    tenant.forbidden = {FIRST_USER + 2}
    body = await ask('{ organization(login: "acme") { membersWithRole(first: 5) { nodes { databaseId } } } }')
    nodes = body["data"]["organization"]["membersWithRole"]["nodes"]
    assert [one and one["databaseId"] - FIRST_USER for one in nodes] == [0, 1, None, 3, 4]
    (error,) = body["errors"]
    assert (error["type"], error["path"]) == ("FORBIDDEN", ["organization", "membersWithRole", "nodes", 2])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ('{ organization(login: "acme") { colour } }', "Field 'colour' doesn't exist on type 'Organization'"),
        ("{" + LIST % "" + "}", "You must provide a `first` or `last` value"),
        ("{" + LIST % "(first: 101)" + "}", "Requesting 101 records"),
        ('{ organization(login: "other") { login } }', "Could not resolve to an Organization"),
        ("{ organization(login: $org) { login } }", "is used but not declared"),
        ("query($org: String!) { organization(login: $org) { login } }", "was provided invalid value"),
        ("{ viewer { login }", "Parse error"),
        ("{ viewer }", "must have a selection"),
        ("mutation { x }", "Parse error"),
        ("{ viewer { ...nobody } }", "Fragment nobody was used"),
    ],
)
async def test_errors_come_with_200(ask: Asker, query: str, told: str) -> None:
    """What is wrong with a query is in `errors`."""
    body = await ask(query)
    assert told in body["errors"][0]["message"]


async def test_cost_and_exhaustion(tenant: GitHubTenant, ask: Asker) -> None:
    """A query tells its cost; over the limit it answers 200 with an error and nothing remaining."""
    tenant.limits.rules.graphql_user = 2
    body = await ask("{ rateLimit { cost remaining used } }")
    assert body["data"]["rateLimit"] == {"cost": 1, "remaining": 1, "used": 1}
    await ask("{ viewer { login } }")
    body = await ask("{ viewer { login } }")
    assert (body["errors"][0]["type"], ask.seen["X-RateLimit-Remaining"]) == ("RATE_LIMITED", "0")


async def test_rights_and_single_sign_on(tenant: GitHubTenant, ask: Asker) -> None:
    """Without the scope the provider is refused beside the rest; without SAML it is null."""
    query = '{ organization(login: "acme") { login samlIdentityProvider { ssoUrl } } }'
    poor = tenant.access.person("acme-owner", FIRST_USER, "read:org")
    rich, ask.headers = ask.headers, {"Authorization": f"Bearer {poor}"}
    body = await ask(query)
    assert body["data"] == {"organization": {"login": "acme", "samlIdentityProvider": None}}
    assert body["errors"][0]["type"] == "INSUFFICIENT_SCOPES"
    ask.headers, tenant.org.saml = rich, False
    body = await ask(query)
    assert (body["data"]["organization"]["samlIdentityProvider"], "errors" in body) == (None, False)


@pytest.mark.parametrize("fault", ["graphql error", "graphql limited", "graphql null"])
async def test_ordered_faults(tenant: GitHubTenant, ask: Asker, fault: str) -> None:
    """They are errors with HTTP 200 as well."""
    tenant.order("/graphql", fault)
    body = await ask("{ viewer { login } }")
    assert body["errors"][0]["message"]
    assert (await ask("{ viewer { login } }"))["data"]["viewer"]["login"] == "acme-owner"


@given(st.text(alphabet='{}()[]:$!"@... \nabc012,#_|&=', max_size=80))
def test_any_document_is_read_or_refused(text: str) -> None:
    """Nothing that is sent makes the reader fail otherwise, or never end."""
    with suppress(Unreadable):
        read(text, {})
