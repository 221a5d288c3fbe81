"""Webhooks of the simulated GitHub: registered, signed, delivered once, listed and redelivered."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.github.endpoints.members import join
from sandbox.github.endpoints.repositories import expose
from sandbox.github.seed import owner_token, person, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant
from sandbox.github.webhooks import signed

OWNER, SECRET = "acme-owner", "planted-hook-secret"
HOOKS = "/orgs/acme/hooks"


class Receiver:
    """A receiver that keeps what it got; `status` is what it answers."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status, self.url = 200, ""

    async def take(self, request: web.Request) -> web.Response:
        """Take a delivery."""
        self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, text="heard")

    @property
    def events(self) -> list[str]:
        """The events in the order of their arrival."""
        return [headers["X-GitHub-Event"] for headers, _ in self.got]


@pytest.fixture
async def tenant() -> AsyncIterator[GitHubTenant]:
    """A small organisation."""
    async with running(seed(members=6, repos=9, events=0)) as tenant:
        yield tenant


@pytest.fixture
async def api(tenant: GitHubTenant) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with the owner's token."""
    headers = {"Authorization": f"Bearer {owner_token(tenant)}"}
    async with aiohttp.ClientSession(tenant.url, headers=headers) as session:
        yield session


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.take)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/hook"))
        yield made


async def register(api: aiohttp.ClientSession, url: str, *events: str, **config: str) -> int:
    """Register a hook; its id."""
    told = {"url": url, "content_type": "json", "secret": SECRET, **config}
    async with api.post(HOOKS, json={"name": "web", "events": list(events), "config": told}) as answer:
        assert answer.status == 201
        return int((await answer.json())["id"])


async def read(api: aiohttp.ClientSession, path: str) -> Any:
    """The body of a GET."""
    async with api.get(path) as answer:
        assert answer.status == 200
        return await answer.json()


def test_the_documented_signature() -> None:
    """The example of "Validating webhook deliveries" comes out."""
    made = signed("It's a Secret to Everybody", b"Hello, World!")
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert made["X-Hub-Signature-256"] == f"sha256={expected}"
    assert signed("", b"Hello, World!") == {}


async def test_a_delivery_is_signed_over_its_bytes(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """A ping and then the event arrive with every documented header."""
    hook = await register(api, receiver.url, "organization")
    one = person(tenant, Random(1), 500)
    join(tenant, one, OWNER)
    await tenant.webhooks.drained()
    assert sorted(receiver.events) == ["organization", "ping"]
    headers, body = next(got for got in receiver.got if got[0]["X-GitHub-Event"] == "organization")
    for name, method in (("X-Hub-Signature-256", hashlib.sha256), ("X-Hub-Signature", hashlib.sha1)):
        right = hmac.new(SECRET.encode(), body, method).hexdigest()
        assert headers[name] == f"{method().name}={right}"
    assert headers["X-GitHub-Hook-ID"] == str(hook)
    assert headers["X-GitHub-Hook-Installation-Target-Type"] == "organization"
    assert headers["X-GitHub-Hook-Installation-Target-ID"] == str(tenant.org.id)
    assert headers["User-Agent"].startswith("GitHub-Hookshot/")
    told = json.loads(body)
    assert (told["action"], told["membership"]["user"]["id"]) == ("member_added", one.id)
    assert tenant.truth[-1].guid == headers["X-GitHub-Delivery"]


async def test_a_form_is_signed_as_it_is_sent(
    api: aiohttp.ClientSession, tenant: GitHubTenant, receiver: Receiver
) -> None:
    """With content type form the JSON sits in `payload`, and the form's bytes are signed."""
    await register(api, receiver.url, "team", content_type="form")
    await tenant.webhooks.drained()
    ((headers, body),) = receiver.got
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert json.loads(parse_qs(body.decode())["payload"][0])["zen"]
    assert headers["X-Hub-Signature-256"] == signed(SECRET, body)["X-Hub-Signature-256"]


async def test_a_failed_delivery_is_listed_and_sent_again(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """Nothing is retried; a redelivery has the same GUID and body, another id, and says what it is."""
    hook = await register(api, receiver.url, "repository")
    await tenant.webhooks.drained()
    receiver.status = 503
    expose(tenant, tenant.org.estate.find("ledger-0") or pytest.fail("no such repository"), "public", OWNER)
    await tenant.webhooks.drained()
    receiver.status = 200
    (failed,) = await read(api, f"{HOOKS}/{hook}/deliveries?status=failure")
    assert (failed["event"], failed["status_code"], failed["redelivery"]) == ("repository", 503, False)
    detail = await read(api, f"{HOOKS}/{hook}/deliveries/{failed['id']}")
    assert detail["response"]["payload"] == "heard"
    async with api.post(f"{HOOKS}/{hook}/deliveries/{failed['id']}/attempts") as answer:
        assert answer.status == 202
    await tenant.webhooks.drained()
    first, second = receiver.got[-2:]
    assert first[1] == second[1]
    assert json.loads(first[1]) == detail["request"]["payload"]
    assert first[0]["X-GitHub-Delivery"] == second[0]["X-GitHub-Delivery"] == failed["guid"]
    newest, *_ = await read(api, f"{HOOKS}/{hook}/deliveries")
    assert (newest["guid"], newest["redelivery"], newest["status"]) == (failed["guid"], True, "OK")
    assert newest["id"] != failed["id"]


async def test_troubles_to_order(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """Lost, unlisted, doubled, forged and seemingly timed out deliveries."""
    hook = await register(api, receiver.url, "team")
    await tenant.webhooks.drained()
    receiver.got.clear()
    tenant.webhooks.order("lost", "silent", "timeout", "twice", "forged")
    guids = [tenant.send("team", "edited", {"number": i}, tenant.org.users[1_000_001]) for i in range(5)]
    await tenant.webhooks.drained()
    came = [headers["X-GitHub-Delivery"] for headers, _ in receiver.got]
    assert sorted(came) == sorted([guids[2], guids[3], guids[3], guids[4]])
    wrong = [
        h["X-GitHub-Delivery"]
        for h, b in receiver.got
        if h["X-Hub-Signature-256"] != signed(SECRET, b)["X-Hub-Signature-256"]
    ]
    assert wrong == [guids[4]]
    listed = {one["guid"]: one["status"] for one in await read(api, f"{HOOKS}/{hook}/deliveries")}
    assert (listed[guids[0]], listed[guids[2]]) == ("failed to connect to host", "timed out")
    assert guids[1] not in listed
    assert await read(api, f"{HOOKS}/{hook}/deliveries?status=failure") == []


async def test_deliveries_are_paged_and_forgotten(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """A cursor leads through them, newest first; after three days they are gone."""
    hook = await register(api, receiver.url, "team")
    for number in range(4):
        tenant.send("team", "edited", {"number": number}, tenant.org.users[1_000_001])
    await tenant.webhooks.drained()
    seen, where = list[int](), f"{HOOKS}/{hook}/deliveries?per_page=2"
    while where:
        async with api.get(where) as answer:
            seen += [one["id"] for one in await answer.json()]
            where = str(answer.links["next"]["url"]) if "next" in answer.links else ""
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    tenant.clock.advance(3 * 86_400 + 1)
    assert await read(api, f"{HOOKS}/{hook}/deliveries") == []
    async with api.get(f"{HOOKS}/{hook}/deliveries/{seen[0]}") as answer:
        assert answer.status == 404


async def test_a_secret_is_kept_hidden_and_rotated(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """It is shown as stars; /config replaces it alone, a whole new config without one drops it."""
    hook = await register(api, receiver.url, "team")
    assert (await read(api, f"{HOOKS}/{hook}"))["config"]["secret"] == "********"
    async with api.patch(f"{HOOKS}/{hook}/config", json={"secret": "second"}) as answer:
        assert (await answer.json())["url"] == receiver.url
    async with api.post(f"{HOOKS}/{hook}/pings") as answer:
        assert answer.status == 204
    await tenant.webhooks.drained()
    headers, body = receiver.got[-1]
    assert headers["X-Hub-Signature-256"] == signed("second", body)["X-Hub-Signature-256"]
    async with api.patch(
        f"{HOOKS}/{hook}", json={"config": {"url": receiver.url, "content_type": "json"}}
    ) as answer:
        assert "secret" not in (await answer.json())["config"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "email"},
        {"config": {}},
        {"config": {"url": "ftp://example.com"}},
        {"config": {"url": "http://127.0.0.1:9/x", "content_type": "xml"}},
        {"config": {"url": "http://127.0.0.1:9/x", "insecure_ssl": "yes"}},
        {"events": ["everything"]},
        {"events": []},
    ],
)
async def test_a_wrong_registration_is_refused(api: aiohttp.ClientSession, change: dict[str, Any]) -> None:
    """422 names what is wrong."""
    right = {"name": "web", "events": ["team"], "config": {"url": "http://127.0.0.1:9/x"}}
    async with api.post(HOOKS, json={**right, **change}) as answer:
        assert answer.status == 422
        assert (await answer.json())["errors"][0]["resource"] == "Hook"


async def test_a_hook_is_made_once_and_says_goodbye(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """The same registration again is refused; a deleted hook hears `meta` once, and then nothing."""
    hook = await register(api, receiver.url, "meta", "team")
    double = {
        "name": "web",
        "events": ["team", "meta"],
        "config": {"url": receiver.url, "content_type": "json"},
    }
    async with api.post(HOOKS, json=double) as answer:
        assert (await answer.json())["errors"][0]["message"] == "Hook already exists on this organization"
    async with api.delete(f"{HOOKS}/{hook}") as answer:
        assert answer.status == 204
    tenant.send("team", "edited", {}, tenant.org.users[1_000_001])
    await tenant.webhooks.drained()
    assert sorted(receiver.events) == ["meta", "ping"]


async def test_the_apps_own_hook(
    tenant: GitHubTenant, api: aiohttp.ClientSession, receiver: Receiver
) -> None:
    """It names the installation, and alone hears of the installation's suspension."""
    app, now = tenant.access.app, int(tenant.clock.now())
    token = jwt.encode({"iat": now, "exp": now + 500, "iss": str(app.id)}, app.private, "RS256")
    headers = {"Authorization": f"Bearer {token}"}
    config = {"url": receiver.url, "content_type": "json", "secret": SECRET}
    async with api.patch("/app/hook/config", json=config, headers=headers) as answer:
        assert answer.status == 200
    async with api.put("/app/installations/31001/suspended", headers=headers) as answer:
        assert answer.status == 204
    await tenant.webhooks.drained()
    ((sent, body),) = receiver.got
    assert (sent["X-GitHub-Event"], sent["X-GitHub-Hook-Installation-Target-Type"]) == (
        "installation",
        "integration",
    )
    told = json.loads(body)
    assert (told["action"], told["installation"]["id"]) == ("suspend", 31_001)
    async with api.get("/app/hook/deliveries", headers=headers) as answer:
        assert [one["event"] for one in await answer.json()] == ["installation"]
