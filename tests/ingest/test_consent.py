"""An admin's consent: by a browser that follows redirects, pasted, declined, forgotten."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from toy.tenant import SECRET, Tenant, running
from yarl import URL

from ingest.apis import Consent
from ingest.consent import authorize_url, consent
from ingest.errors import Misconfigured, NotAllowed


async def browse(url: str, change: Callable[[URL], URL] = lambda url: url) -> int:
    """Be the admin's browser: consent, and follow the redirect."""
    async with aiohttp.ClientSession() as session:
        async with session.get(url, allow_redirects=False) as answer:
            back = URL(answer.headers["Location"])
        async with session.get(change(back)) as answer:
            return answer.status


async def test_consent_in_the_browser() -> None:
    """The code comes to loopback with the right state only, and PKCE proves that it is ours."""
    statuses: list[int] = []
    async with running(Tenant()) as tenant, aiohttp.ClientSession() as session:
        auth = Consent(f"{tenant.url}/oauth/authorize?x=1", f"{tenant.url}/oauth/token", "id", SECRET, "s t")
        tasks: list[asyncio.Task[None]] = []

        async def admin(url: str) -> None:
            statuses.append(await browse(url, lambda back: back.update_query(state="forged")))
            statuses.append(await browse(url))

        tokens = await consent(
            auth, session, lambda url: tasks.append(asyncio.ensure_future(admin(url))), within=5.0
        )
        await asyncio.gather(*tasks)

    assert statuses == [400, 200]
    assert tokens.access in tenant.tokens
    assert tokens.refresh in tenant.refresh
    assert tokens.refresh not in repr(tokens)


@pytest.mark.parametrize("bare", [True, False])
async def test_consent_pasted(bare: bool) -> None:
    """The address the browser ended at, or the bare code, can be pasted; nonsense is asked for again."""
    async with running(Tenant()) as tenant, aiohttp.ClientSession() as session:
        auth = Consent(f"{tenant.url}/oauth/authorize", f"{tenant.url}/oauth/token", "id", SECRET)
        opened: list[str] = []
        lines: list[Callable[[], Awaitable[str]]] = []

        async def ended_at() -> str:
            async with session.get(opened[0], allow_redirects=False) as answer:
                back = URL(answer.headers["Location"])
            return back.query["code"] if bare else f" {back}\n"

        async def nonsense() -> str:
            return "http://127.0.0.1/callback?code=1&state=2"

        async def paste() -> str:
            return await lines.pop()()

        lines += [ended_at, nonsense]
        tokens = await consent(auth, session, opened.append, pasted=paste, within=5.0)

    assert tokens.access in tenant.tokens


async def test_consent_declined_or_forgotten() -> None:
    """An admin who declines, and one who never answers, end it with a sentence."""
    auth = Consent("https://x.example/authorize", "https://x.example/token", "id", "s")
    async with aiohttp.ClientSession() as session:

        async def declines() -> str:
            state = URL(opened[0]).query["state"]
            return f"http://127.0.0.1/callback?error=access_denied&state={state}"

        opened: list[str] = []
        with pytest.raises(NotAllowed, match="access_denied"):
            await consent(auth, session, opened.append, pasted=declines)
        with pytest.raises(Misconfigured, match="no consent within"):
            await consent(auth, session, opened.append, within=0.01)


def test_pkce_example_of_the_rfc() -> None:
    """The challenge is that of RFC 7636, appendix B."""
    auth = Consent("https://x.example/authorize?prompt=consent", "", "id", "s", "a b")
    url = URL(
        authorize_url(
            auth, "http://127.0.0.1:5/callback", "st", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        )
    )

    assert url.query["code_challenge"] == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert (url.query["prompt"], url.query["scope"], url.query["state"]) == ("consent", "a b", "st")
