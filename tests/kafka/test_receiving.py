"""The receiver on a real Kafka: nothing is acknowledged that is not stored, and strangers learn nothing."""

import asyncio
import base64
import hmac
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import aiohttp
import orjson
import pytest
import pytest_asyncio
import trustme
from rig import read, store, topics, until

from ingest.cluster import Cluster
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.directory import Directory
from ingest.handshakes import grid_code, header_challenge
from ingest.producing import Outgoing
from ingest.provider import Answer, Delivery, Hooked, Provider, Settings, hook
from ingest.publickeys import fetching
from ingest.push import LARGEST
from ingest.registrations import Registry
from ingest.signatures import ClientCertificate, Guard, Hmac, SharedSecret, json_of
from ingest.state import key
from ingest.storing import Store
from ingest.tasks import ended
from ingest.webhooks import Receiver
from schemas.control import Former, Inbox, Registration, Wish
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
BODY = b'{"zen":"Responsive is better than fast."}'


class OrgHook:
    """A registration whose lost deliveries two polls would find."""

    brings: ClassVar[str] = "signed"
    speeds_up: ClassVar[tuple[str, ...]] = ("audit", "people")


class Pushing(Provider[Settings]):
    """A provider with a hook that is signed, one of an app that serves many, one guarded by mutual TLS."""

    name: ClassVar[str] = "pushing"
    settings_type: ClassVar[type[Settings]] = Settings
    subscriptions = (OrgHook(),)  # type: ignore[assignment]  # nothing here creates one

    @hook(Hmac("X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery"))
    def signed(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()

    @hook(
        Guard(
            SharedSecret(),
            handshakes=[header_challenge("x-okta-verification-challenge", "verification"), grid_code],
            ok=Answer(204), instances=lambda one: json_of(one, dict).get("teams"),
        )
    )  # fmt: skip
    def shared(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()

    @hook(ClientCertificate("events.provider.example"))
    def certified(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()


class Deployment:
    """Registrations on one cluster, and receivers that serve them."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self.cluster, self.session = cluster, session
        self.keyring = Keyring.of(cluster.config)

    async def register(self, name: str, hook_name: str, secret: str, partition: int = 0, **more: Any) -> str:
        """Connect and register as a connector's owner does; give the address' path."""
        wish = Wish(name=name, provider="pushing", incarnation="1", partition=partition, instance=f"i-{name}")
        kind = "OrgHook" if hook_name == "signed" else "Manual"
        made = Registration(
            incarnation="1", kind=kind, axis="", id=uuid4().hex, hook=hook_name,
            sealed=self.sealed(name, secret), **more,
        )  # fmt: skip
        await store(
            self.cluster,
            Outgoing("connectors", partition, name.encode(), wish.dump()),
            Outgoing("subscriptions", partition, key(name, kind, ""), made.dump()),
        )
        return f"/v1/pushing/{hook_name}/{made.id}"

    def sealed(self, name: str, secret: str) -> str:
        """Seal as the owner does."""
        return self.keyring.seal(secret, f"{name}/1")

    @asynccontextmanager
    async def receiver(self, **settings: Any) -> AsyncIterator[Receiver]:
        """Run a receiver, as the role does."""
        config = self.cluster.config.model_copy(update=settings)
        async with AsyncExitStack() as stack:
            fetch = await stack.enter_async_context(fetching(config))
            follower = Follower(self.cluster)
            await follower.start()
            stack.push_async_callback(follower.stop)
            directory = Directory(self.cluster, follower)
            await directory.start()
            registry = Registry(self.cluster, follower, directory, self.keyring, lambda _: Pushing)
            made = Receiver(config, registry, Store(self.cluster, config.in_flight_bytes), fetch)
            task = asyncio.create_task(made.run())
            stack.push_async_callback(ended, task)
            await until(lambda: not made.waiting() or task.done())
            yield made

    async def push(
        self, url: str, secret: str, body: bytes = BODY, id_: str = "", tls: ssl.SSLContext | None = None
    ) -> tuple[int, dict[str, str], bytes, float]:
        """Deliver as GitHub does; give status, headers, body and the seconds it took."""
        headers = {"X-Hub-Signature-256": f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"}
        if id_:
            headers["X-GitHub-Delivery"] = id_
        began = time.monotonic()
        async with self.session.post(url, data=body, headers=headers, ssl=tls or True) as reply:
            return reply.status, dict(reply.headers), await reply.read(), time.monotonic() - began

    async def inbox(self, kind: str = "delivery") -> list[Inbox]:
        """Read what is stored, with an independent client."""
        found = [Inbox.load(one.value() or b"") for one in await read(self.cluster, "inbox")]
        return [one for one in found if one.kind == kind]


@pytest_asyncio.fixture(loop_scope="session")
async def deployment(kafka: Broker, topic_prefix: str) -> AsyncIterator[Deployment]:
    """Give a deployment of its own topics."""
    cluster = await topics(kafka.bootstrap, topic_prefix)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Deployment(cluster, session)


async def test_a_delivery_is_stored_as_it_came(deployment: Deployment) -> None:
    """The record is in the connector's partition, whole, and without the headers that hold secrets."""
    path = await deployment.register("acme", "signed", "s3cret", partition=1)
    async with deployment.receiver() as receiver:
        signature = f"sha256={hmac.digest(b's3cret', BODY, 'sha256').hex()}"
        headers = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "d1", "X-Hub-Signature-256": signature,
                   "Authorization": "Bearer canary", "Cookie": "canary"}  # fmt: skip
        url = f"{receiver.address}{path}?x=%C3%A9&y="
        async with deployment.session.post(url, data=BODY, headers=headers) as reply:
            assert (reply.status, await reply.read()) == (200, b"")
        (message,) = await read(deployment.cluster, "inbox")
    found = Inbox.load(message.value() or b"")
    assert (message.partition(), message.key()) == (1, b"acme")
    assert base64.b64decode(found.body) == BODY
    assert (found.connector, found.hook, found.method, found.delivery_id) == ("acme", "signed", "POST", "d1")
    assert (found.query, found.headers["x-github-event"]) == ({"x": "é", "y": ""}, "ping")
    assert b"canary" not in (message.value() or b"")


async def test_a_redelivery_is_answered_and_stored_once(deployment: Deployment) -> None:
    """The same id again, also while the first one is under way; another id with the same body is another."""
    path = await deployment.register("acme", "signed", "s")
    async with deployment.receiver() as receiver:
        url = receiver.address + path
        answers = await asyncio.gather(*(deployment.push(url, "s", id_="same") for _ in range(5)))
        answers += [await deployment.push(url, "s", id_=name) for name in ("same", "other", "", "")]
        assert {status for status, *_ in answers} == {200}
        assert sorted(one.delivery_id for one in await deployment.inbox())[2:] == ["other", "same"]
        assert len(await deployment.inbox()) == 4


async def _raw(address: str, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(request)
    answer = await reader.read(-1)
    writer.close()
    return answer


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "HEAD", "OPTIONS", "DELETE"])
async def test_strangers_learn_nothing(deployment: Deployment, method: str) -> None:
    """Unknown paths, another hook's id and wrong secrets get the same bytes."""
    path = await deployment.register("acme", "signed", "s")
    id_ = path.rpartition("/")[2]
    body = "x" * 9000
    paths = [path, "/", "/v1/pushing/signed/", f"/v1/pushing/shared/{id_}", f"/v1/other/signed/{id_}",
             f"/v1/pushing/signed/{uuid4().hex}", f"{path}/x", "/healthz", "/metrics", "/%2e"]  # fmt: skip
    rest = (f"HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Hub-Signature-256: sha256={'0' * 64}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}")  # fmt: skip
    async with deployment.receiver() as receiver:
        requests = [f"{method} {one} {rest}".encode() for one in paths]
        answers = await asyncio.gather(*(_raw(receiver.address, one) for one in requests))
        assert await deployment.inbox() == []
    without_date = {
        b"\r\n".join(line for line in one.split(b"\r\n") if not line.startswith(b"Date:")) for one in answers
    }
    assert len(without_date) == 1
    assert without_date.pop().startswith(b"HTTP/1.1 410 Gone\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        b"BREW / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00canary",
        b"GET / HTTP/1.1\r\nCanary\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"canary" * 3000 + b"\r\n",
    ],
)
async def test_what_is_no_http(deployment: Deployment, request_: bytes) -> None:
    """It is refused, without a word of it or of what refuses."""
    async with deployment.receiver() as receiver:
        answer = await _raw(receiver.address, request_)
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"anary" not in answer
    assert b"aiohttp" not in answer


async def test_a_body_that_is_too_large(deployment: Deployment) -> None:
    """The largest body fits a record; a larger one is refused, and the feeds are nudged in its stead."""
    path = await deployment.register("acme", "signed", "s")
    async with deployment.receiver() as receiver:
        largest = os.urandom(LARGEST)
        assert (await deployment.push(receiver.address + path, "s", largest))[0] == 200
        assert (await deployment.push(receiver.address + path, "s", largest + b"x"))[0] == 413

        async def nudged() -> bool:
            return {one.feed for one in await deployment.inbox("nudge")} == {"audit", "people"}

        await until(nudged)
        assert [base64.b64decode(one.body) for one in await deployment.inbox()] == [largest]


async def test_strangers_beside_real_deliveries(deployment: Deployment) -> None:
    """Three strangers to each real delivery: all of the real ones are stored, nothing else is."""
    path = await deployment.register("acme", "signed", "s")
    async with deployment.receiver() as receiver:
        url, wrong = receiver.address + path, f"{receiver.address}/v1/pushing/signed/{uuid4().hex}"
        real = [deployment.push(url, "s", id_=str(number)) for number in range(200)]
        junk = [
            deployment.push(url if number % 3 else wrong, "other", id_=str(number)) for number in range(600)
        ]
        answers = await asyncio.gather(*real, *junk)
        assert {status for status, *_ in answers[:200]} == {200}
        assert {status for status, *_ in answers[200:]} == {410}
        assert {one.delivery_id for one in await deployment.inbox()} == {str(number) for number in range(200)}


async def test_kafka_is_frozen(kafka: Broker, deployment: Deployment) -> None:
    """Senders are told within 2 s to come again; what was acknowledged is there, and polls are nudged."""
    path = await deployment.register("acme", "signed", "s")
    async with deployment.receiver(in_flight_bytes=1024 * 1024) as receiver:
        url = receiver.address + path
        good = [f"before-{number}" for number in range(20)]
        assert {(await deployment.push(url, "s", id_=one))[0] for one in good} == {200}
        kafka.freeze()
        try:
            answers = await asyncio.gather(
                *(deployment.push(url, "s", os.urandom(8192), f"during-{number}") for number in range(300))
            )
            assert receiver.waiting().startswith("Kafka is away")
        finally:
            kafka.thaw()
        assert {status for status, *_ in answers} == {503}
        assert all(headers["Retry-After"] == "5" for _, headers, *_ in answers)
        assert max(seconds for *_, seconds in answers) < 2.0
        await until(lambda: not receiver.waiting(), 30)
        again = [f"during-{number}" for number in range(300)]
        assert {(await deployment.push(url, "s", id_=one))[0] for one in again} == {200}

        async def nudged() -> bool:
            return {one.feed for one in await deployment.inbox("nudge")} == {"audit", "people"}

        await until(nudged)
        assert {one.delivery_id for one in await deployment.inbox()} == {*good, *again}


class Authority:
    """An authority, the receiver's certificate, and callers'."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, trustme.CA()
        self._made.cert_pem.write_to_path(folder / "authority.pem")

    def settings(self, **more: Path) -> dict[str, Path]:
        """Give the receiver's settings of TLS."""
        pem = self._folder / "receiver.pem"
        self._made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
        return {"receive_certificate": pem, "receive_private_key": pem, **more}

    def caller(self, name: str = "", by: "Authority | None" = None) -> ssl.SSLContext:
        """Make a caller who trusts this authority; a name: with its certificate, or another's."""
        context = ssl.create_default_context(cafile=str(self._folder / "authority.pem"))
        if name:
            (by or self)._made.issue_cert(name).configure_cert(context)
        return context


async def test_tls(deployment: Deployment, tmp_path: Path) -> None:
    """Under TLS deliveries are stored as without, also large ones; who speaks plainly gets no answer."""
    authority = Authority(tmp_path)
    path = await deployment.register("acme", "signed", "s")
    async with deployment.receiver(**authority.settings()) as receiver:
        bodies = [BODY, os.urandom(LARGEST), *(os.urandom(8192) for _ in range(30))]
        url, tls = receiver.address + path, authority.caller()
        answers = await asyncio.gather(*(deployment.push(url, "s", body, tls=tls) for body in bodies))
        assert {status for status, *_ in answers} == {200}
        with pytest.raises(aiohttp.ClientConnectionError):
            await deployment.push(url.replace("https", "http"), "s")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await deployment.push(url, "s")
        stored = {base64.b64decode(one.body) for one in await deployment.inbox()}
    assert stored == set(bodies)


async def test_mutual_tls(deployment: Deployment, tmp_path: Path) -> None:
    """Only a certificate of our authority with the right name will do; a foreign one ends the call."""
    (tmp_path / "foreign").mkdir()
    authority, foreign = Authority(tmp_path), Authority(tmp_path / "foreign")
    path = await deployment.register("acme", "certified", "")
    name = "events.provider.example"
    async with deployment.receiver(
        **authority.settings(receive_client_ca=tmp_path / "authority.pem")
    ) as receiver:
        url = receiver.address + path
        for caller, expected in (("", 410), ("other.example", 410), (name, 200)):
            tls = authority.caller(caller)
            assert (await deployment.push(url, "", caller.encode(), tls=tls))[0] == expected
        with pytest.raises(aiohttp.ClientError):
            await deployment.push(url, "", b"foreign", tls=authority.caller(name, foreign))
        assert [base64.b64decode(one.body) for one in await deployment.inbox()] == [name.encode()]


async def test_a_receiver_that_starts_anew(deployment: Deployment) -> None:
    """What was registered before is known once it listens."""
    path = await deployment.register("acme", "signed", "s")
    for _ in range(2):
        async with deployment.receiver() as receiver:
            assert (await deployment.push(receiver.address + path, "s"))[0] == 200
    with pytest.raises(aiohttp.ClientConnectionError):
        await deployment.push(receiver.address + path, "s")


async def test_what_was_accepted_is_finished(deployment: Deployment) -> None:
    """A receiver that is told to stop stores and answers what it has begun with."""
    path = await deployment.register("acme", "signed", "s")
    async with deployment.receiver() as receiver:
        url = receiver.address + path
        pushed = [asyncio.create_task(deployment.push(url, "s", id_=str(number))) for number in range(50)]
        await asyncio.wait(pushed, return_when=asyncio.FIRST_COMPLETED)
    results = await asyncio.gather(*pushed, return_exceptions=True)
    acknowledged = {str(n) for n, one in enumerate(results) if isinstance(one, tuple) and one[0] == 200}
    assert acknowledged
    assert acknowledged <= {one.delivery_id for one in await deployment.inbox()}


async def test_a_provider_may_ask_while_it_is_being_told(deployment: Deployment) -> None:
    """A handshake that arrives before the registration waits for it."""
    await deployment.register("acme", "shared", "s")
    made = Registration(incarnation="1", kind="Late", axis="", id=uuid4().hex, hook="shared",
                        sealed=deployment.sealed("acme", "s"))  # fmt: skip
    async with deployment.receiver() as receiver:
        url = f"{receiver.address}/v1/pushing/shared/{made.id}"
        grid = b'[{"data":{"validationCode":"512d38b6"}}]'
        asked = [
            asyncio.create_task(_asked(deployment.session, "GET", url, b"", "X-Okta-Verification-Challenge")),
            asyncio.create_task(_asked(deployment.session, "POST", url, grid, "aeg-event-type")),
        ]
        await store(deployment.cluster, Outgoing("subscriptions", 0, key("acme", "Late", ""), made.dump()))
        assert await asyncio.gather(*asked) == [
            (200, b'{"verification":"SubscriptionValidation"}'),
            (200, b'{"validationResponse":"512d38b6"}'),
        ]


async def _asked(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes, header: str
) -> tuple[int, bytes]:
    headers = {header: "SubscriptionValidation"}
    async with session.request(method, url, data=body, headers=headers) as reply:
        return reply.status, await reply.read()


async def test_secrets_are_rotated_and_taken_away(deployment: Deployment) -> None:
    """Old address and secret hold while they are kept beside the new ones, with the connector at most."""
    former = Former(id=uuid4().hex, sealed=deployment.sealed("acme", "old"))
    path = await deployment.register("acme", "signed", "new", former=former)
    old = f"/v1/pushing/signed/{former.id}"
    async with deployment.receiver() as receiver:
        for one in (path, old):
            assert {(await deployment.push(receiver.address + one, s))[0] for s in ("old", "new")} == {200}
        await store(deployment.cluster, Outgoing("connectors", 0, b"acme", None))

        async def refused() -> bool:
            return {(await deployment.push(receiver.address + one, "new"))[0] for one in (path, old)} == {410}

        await until(refused)


async def test_one_address_for_many(deployment: Deployment) -> None:
    """A delivery reaches the instances that it names, of connectors that know the address' secret."""
    path = await deployment.register("a", "shared", "app")
    await deployment.register("b", "shared", "app", partition=1)
    await deployment.register("c", "shared", "another app")
    async with deployment.receiver() as receiver:
        for teams in (["i-a", "i-b", "i-c"], ["i-c", "i-d"], None):
            data = orjson.dumps({"teams": teams})
            async with deployment.session.post(
                receiver.address + path, data=data, headers={"Authorization": "app"}
            ) as reply:
                assert reply.status == 204
        assert sorted(one.connector for one in await deployment.inbox()) == ["a", "a", "b"]


async def test_the_role(deployment: Deployment) -> None:
    """`sluice run receive` listens where it is told, and ends cleanly when it is asked to."""
    config = deployment.cluster.config
    path = await deployment.register("acme", "signed", "s")
    environment = {
        **os.environ, "SLUICE_KAFKA": deployment.cluster.bootstrap, "SLUICE_PREFIX": config.prefix,
        "SLUICE_KEY": config.key.get_secret_value(),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sluice", "run", "receive", env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    told = b""
    while b'"receiving"' not in told and b"receiving" not in told:
        told += (line := await asyncio.wait_for(process.stdout.readline(), 30))
        assert line, told.decode()
    url = next(orjson.loads(one) for one in told.splitlines() if b"receiving" in one)["address"]
    # Nothing of this name is a provider of the product: the path is a stranger's.
    assert (await deployment.push(url + path, "s"))[0] == 410
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 15) == 0
