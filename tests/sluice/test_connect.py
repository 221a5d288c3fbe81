"""`sluice connect` from the settings file to the stored wish: AWS simulated, the toy with a consent."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import toy
from toy.provider import Toy
from toy.tenant import SECRET, Tenant, running
from yarl import URL

from ingest.cluster import Cluster
from ingest.credentials import Keyring
from ingest.custody import wished_tokens
from ingest.links import Links
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from schemas.control import Wish
from schemas.topics import TOPICS
from sluice.applying import carry_out, parse, plan
from sluice.operate import Desk, View
from sluice.tail import tail

pytestmark = pytest.mark.kafka


async def test_connect_with_secrets_by_reference(shell: Any, cluster: Cluster, tmp_path: Path) -> None:
    """The instance and the grants are told; the secret is in no output and on no topic, and opens again."""
    call = shell.of(cluster)
    async with AwsTenant(log=tmp_path / "tenant.log") as tenant:
        account = (await seed(tenant, history=1)).accounts[1]
        secret = account.key_pair["aws_secret_access_key"]
        (tmp_path / "secret").write_text(secret + "\n")
        file = tmp_path / "aws.json"
        settings = {
            "access_key_id": "env:AWS_ID", "secret_access_key": "file:secret", "regions": [account.region],
            "endpoints": {"aws": tenant.endpoint},
        }  # fmt: skip
        file.write_text(json.dumps(settings))
        arguments = ("connect", "aws", "prod", "--settings", str(file))
        key = {"AWS_ID": account.key_pair["aws_access_key_id"]}
        said = await call(*arguments, "--no-wait", "--json", **key)
        assert said.code == 0, said.err
        told = json.loads(said.out)
        assert (told["change"], told["instance"]["id"]) == ("stored", account.id)
        assert {"accounts", "logons"} <= {one["capability"] for one in told["grants"]}
        plain = await call(*arguments, "--no-wait", **key)
        assert plain.code == 0
        assert account.id in plain.out
        twice = await call("connect", "aws", "again", *arguments[3:], **key)
        assert twice.code == 1
        assert "is connected already, as prod" in twice.err
        file.write_text(json.dumps({**settings, "secret_access_key": "not-" + secret}))
        wrong = await call(*arguments, **key)
        assert (wrong.code, wrong.out) == (1, "")
        for one in (said, plain, twice, wrong):
            assert secret not in one.out + one.err
    desk = Desk(cluster, Keyring.of(cluster.config))
    wish = await desk.wish("prod")
    assert (wish.revision, wish.generation) == (2, 1)
    opened = Links(desk.keyring).settings(wish)
    assert opened.secret_access_key.get_secret_value() == secret
    for topic in TOPICS:
        async for record in tail(cluster, topic, None, None):
            assert secret not in json.dumps(record)


# ---- an app that wants an admin's consent

WITH_TOY = (
    f"import ingest.providers as found; found.__path__.append({str(Path(toy.__file__).parent)!r}); "
    "from sluice.__main__ import main; main()"
)
"""The command line, with one more folder of providers."""


@pytest.fixture
def desk(cluster: Cluster) -> Desk:
    """Give an operator's desk with the toy."""
    return Desk(cluster, Keyring.of(cluster.config), {"toy": Toy})


@pytest_asyncio.fixture(loop_scope="session")
async def tenant() -> AsyncIterator[Tenant]:
    """Run a toy's tenant."""
    async with running(Tenant()) as one:
        one.add_user("ann")
        yield one


class Admin:
    """Calls `sluice connect` without a terminal and consents as a browser would, by what stderr shows."""

    def __init__(self, shell: Any, cluster: Cluster, tenant: Tenant, folder: Path) -> None:
        self.tenant, self.file = tenant, folder / "toy.json"
        self.environment = shell.of(cluster).environment | {"PYTHONPATH": ":".join(sys.path)}
        self.write()

    def write(self, **more: Any) -> None:
        """Write the settings file."""
        settings = {"url": self.tenant.url, "client_secret": SECRET, "consent": True, **more}
        self.file.write_text(json.dumps(settings))

    async def start(self, *more: str) -> Process:
        """Begin a call."""
        arguments = ("connect", "toy", "consented", "--settings", str(self.file), "--no-wait", *more)
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", WITH_TOY, *arguments, env=self.environment,
            stdin=PIPE, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip

    @staticmethod
    async def shown(process: Process) -> URL:
        """Wait for the address that is to be opened."""
        assert process.stderr
        async with asyncio.timeout(30):
            while line := await process.stderr.readline():
                if found := re.search(rb"(http://\S+/oauth/authorize\S+)", line):
                    return URL(found[1].decode())
        raise AssertionError((await process.communicate())[1])

    @staticmethod
    async def agree(url: URL, *, follow: bool) -> str:
        """Consent in the browser; give the address it is sent to."""
        async with aiohttp.ClientSession() as session:
            async with session.get(url, allow_redirects=False) as answer:
                back = answer.headers["Location"]
            if follow:
                async with session.get(back) as answer:
                    assert answer.status == 200
        return back

    @staticmethod
    async def end(process: Process, typed: str = "") -> tuple[int, str]:
        """Wait for the end of a call; give its code and what it said."""
        async with asyncio.timeout(30):
            out, err = await process.communicate(typed.encode())
        assert b"Traceback" not in err, err
        return process.returncode or 0, (out + err).decode()


@pytest.fixture
def admin(shell: Any, cluster: Cluster, tenant: Tenant, tmp_path: Path) -> Admin:
    """Give an admin at a terminal."""
    return Admin(shell, cluster, tenant, tmp_path)


async def tokens_of(desk: Desk) -> tuple[Wish, dict[str, Any] | None]:
    """Read the wish, and the tokens sealed in it."""
    wish = await desk.wish("consented")
    return wish, wished_tokens(desk.keyring, wish)


@pytest.mark.parametrize("pasted", [False, True])
async def test_connect_with_a_consent(admin: Admin, desk: Desk, owner: Any, pasted: bool) -> None:
    """An admin consents in a browser or pastes where it ended; the owner runs on the sealed tokens."""
    process = await admin.start()
    back = await admin.agree(await admin.shown(process), follow=not pasted)
    code, said = await admin.end(process, f"nonsense://[\n{back}\n" if pasted else "")
    assert code == 0, said
    assert "sluice status consented" in said
    wish, tokens = await tokens_of(desk)
    assert tokens
    assert tokens["access"] in admin.tenant.tokens
    assert {tokens["refresh"]} == admin.tenant.refresh
    for secret in (SECRET, tokens["access"], tokens["refresh"]):
        assert secret not in said + wish.dump().decode()
    async with owner, View(desk.cluster) as view:

        def running() -> bool:
            status = view.status("consented")
            return status is not None and status.state == "running"

        assert await view.until(running, 30.0)


async def test_connecting_again_keeps_the_consent(admin: Admin, desk: Desk) -> None:
    """Nobody is asked twice, unless the client is another or `--consent` asks for it."""
    process = await admin.start()
    await admin.agree(await admin.shown(process), follow=True)
    assert (await admin.end(process))[0] == 0
    first, tokens = await tokens_of(desk)

    assert (await admin.end(await admin.start()))[0] == 0
    second, same = await tokens_of(desk)
    assert (second.generation, second.sealed, same) == (first.generation, first.sealed, tokens)

    for change in (("--consent",), ()):
        admin.write(**({} if change else {"client_id": "another"}))
        process = await admin.start(*change)
        await admin.agree(await admin.shown(process), follow=True)
        assert (await admin.end(process))[0] == 0
        wish, fresh = await tokens_of(desk)
        assert wish.generation > second.generation
        assert fresh != tokens
        second, tokens = wish, fresh


async def test_where_nobody_can_consent(admin: Admin, desk: Desk, tenant: Tenant, tmp_path: Path) -> None:
    """`apply` says how to consent, `--consent` is refused where none is needed, a taken port is named."""
    document = {
        "connectors": [{"name": "c", "provider": "toy", "settings": json.loads(admin.file.read_text())}]
    }
    made = await plan(desk, *parse(document, tmp_path, {"toy": Toy}), prune=False)
    with pytest.raises(Exception, match=r"needs an admin's consent.*sluice connect toy c"):
        await carry_out(desk, made, made.changes[0])

    code, said = await admin.end(await admin.start("--port", tenant.url.rsplit(":", 1)[1]))
    assert code == 1
    assert "can't be opened" in said
    admin.write(consent=False)
    code, said = await admin.end(await admin.start("--consent"))
    assert code == 2
    assert "leave --consent away" in said


async def test_a_consent_declined(admin: Admin) -> None:
    """An admin who declines ends the call with a sentence, and nothing is stored."""
    process = await admin.start()
    asked = (await admin.shown(process)).query
    back = URL(asked["redirect_uri"]).with_query(error="access_denied", state=asked["state"])
    code, said = await admin.end(process, f"{back}\n")
    assert code == 1
    assert "did not consent (access_denied)" in said
