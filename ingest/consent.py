"""An admin's consent in the browser: authorization code with PKCE, received on loopback or pasted.

Sources: RFC 6749 section 4.1, RFC 7636 (PKCE), RFC 8252 section 7.3 (loopback redirection).
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe

import aiohttp
from aiohttp import web
from yarl import URL

from ingest.apis import Consent
from ingest.errors import Misconfigured, NotAllowed
from ingest.token_endpoint import (
    TokenRefusedError,
    TokenSet,
    ask,
    client_fields,
    host_of,
    scrubbed,
    unless_empty,
)


async def exchange(
    session: aiohttp.ClientSession, auth: Consent, code: str, redirect: str, verifier: str
) -> TokenSet:
    """Turn an authorization code into tokens.

    Raises:
        Misconfigured: The code, the client or the redirect address is refused.
    """
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, **client_fields(auth)}
    try:
        return await ask(session, auth.url, {**form, "code_verifier": verifier})
    except TokenRefusedError as error:
        raise Misconfigured(f"{host_of(auth.url)} does not take the consent's code: {error}") from None


def authorize_url(auth: Consent, redirect: str, state: str, verifier: str) -> str:
    """Make the address an admin opens, with the PKCE challenge (S256) of `verifier`."""
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": auth.id,
        "redirect_uri": redirect,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **unless_empty(scope=auth.scope),
    }
    return str(URL(auth.authorize).extend_query(query))


async def consent(
    auth: Consent,
    session: aiohttp.ClientSession,
    open_browser: Callable[[str], object],
    *,
    pasted: Callable[[], Awaitable[str]] | None = None,
    port: int = 0,
    within: float = 600.0,
) -> TokenSet:
    """Let an admin consent in the browser; the answer comes to a loopback address, or is pasted.

    Args:
        auth: The consent wanted.
        session: For the exchange of the code.
        open_browser: Called with the address to open.
        pasted: Waits for the address the browser ended at, or the bare code, where loopback can't be reached.
        port: The loopback port, where the provider wants its redirect address registered.
        within: Seconds the admin has.

    Raises:
        NotAllowed: The admin declined.
        Misconfigured: Nothing came in time, or the provider refuses the code.
    """
    state, verifier = token_urlsafe(24), token_urlsafe(48)
    came: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    typing: asyncio.Future[str] | None = None
    async with _loopback(port, state, came) as redirect:
        try:
            open_browser(authorize_url(auth, redirect, state, verifier))
            typing = asyncio.ensure_future(_paste(pasted, state)) if pasted else None
            waiting = {came, typing} if typing else {came}
            done, _ = await asyncio.wait(waiting, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise Misconfigured(f"no consent within {within:g} seconds: try again")
            return await exchange(session, auth, _granted(done.pop().result()), redirect, verifier)
        finally:
            if typing:
                typing.cancel()


@asynccontextmanager
async def _loopback(port: int, state: str, came: "asyncio.Future[str]") -> AsyncIterator[str]:
    """Receive the browser's answer at the address given, this machine's alone."""

    async def receive(request: web.Request) -> web.Response:
        if not came.done() and (code := _code(request.query, state)) is not None:
            came.set_result(code)
            return web.Response(text="Thank you. You can close this page.")
        return web.Response(status=400, text="This is not the answer that was expected.")

    app = web.Application()
    app.router.add_get("/callback", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            raise Misconfigured(
                f"port {port} of this machine can't be opened ({error.strerror}): choose another"
            ) from None
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/callback"
    finally:
        await runner.cleanup()


async def _paste(pasted: Callable[[], Awaitable[str]], state: str) -> str:
    while True:
        text = (await pasted()).strip()
        try:
            query = URL(text).query if "://" in text else {"code": text, "state": state}
        except ValueError:
            continue
        if text and (code := _code(query, state)) is not None:
            return code


def _code(query: Mapping[str, str], state: str) -> str | None:
    """Take the code, or `!` and the error, from an answer to the question we asked; None: not to ours."""
    if not compare_digest(query.get("state", "").encode(), state.encode()):
        return None
    return query.get("code") or f"!{query.get('error', '')}"


def _granted(code: str) -> str:
    if code.startswith("!"):
        raise NotAllowed(f"the admin did not consent ({scrubbed(code[1:64]) or 'no reason given'})")
    return code
