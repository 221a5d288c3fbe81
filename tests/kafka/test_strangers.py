"""What strangers send to real providers' hooks: refused, never a crash, none of it in Kafka."""

import asyncio
import base64
import gzip
import hmac
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple
from uuid import uuid4

import pytest
import rig

from ingest.cluster import Cluster
from ingest.consuming import Follower
from ingest.credentials import Keyring
from ingest.directory import Directory
from ingest.producing import Outgoing
from ingest.providers.github import GitHub
from ingest.providers.okta import Okta
from ingest.publickeys import fetching
from ingest.registrations import Registry
from ingest.state import key
from ingest.storing import Store
from ingest.tasks import ended
from ingest.webhooks import Receiver
from schemas.control import Inbox, Registration, Wish
from schemas.topics import TOPICS
from sluice.broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]
KINDS = {"github": GitHub, "okta": Okta}
HOOKS = {"github": ("OrganizationHook", "changed"), "okta": ("EventHooks", "events")}
SECRET = "s3cret-of-a-hook"
BODY = b'{"action":"opened","issue":{"number":1}}'
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE")
FUZZED = 1_500
AT_ONCE = 32
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSED = (400, 410, 413, 503)


class Request(NamedTuple):
    """A request as bytes, without a length that is wrong by accident."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def raw(self) -> bytes:
        """Write it as HTTP/1.1 on a connection of its own."""
        lines = [b"%s: %s\r\n" % one for one in self.headers]
        start = f"{self.method} {self.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (start, b"".join(lines), len(self.body), self.body)


def signed(body: bytes, secret: str = SECRET) -> bytes:
    """Sign as GitHub does."""
    return b"sha256=" + hmac.digest(secret.encode(), body, "sha256").hex().encode()


class Deployment:
    """A connector of each provider with its hook's address, and a receiver."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.keyring = cluster, Keyring.of(cluster.config)
        self.paths: dict[str, str] = {}

    async def register(self) -> None:
        """Connect and register both."""
        for name, (kind, hook) in HOOKS.items():
            wish = Wish(name=name, provider=name, incarnation="1", partition=0, instance=f"i-{name}")
            made = Registration(
                incarnation="1", kind=kind, axis="", id=uuid4().hex, hook=hook,
                sealed=self.keyring.seal(SECRET, f"{name}/1"),
            )  # fmt: skip
            await rig.store(
                self.cluster,
                Outgoing("connectors", 0, name.encode(), wish.dump()),
                Outgoing("subscriptions", 0, key(name, kind, ""), made.dump()),
            )
            self.paths[name] = f"/v1/{name}/{hook}/{made.id}"

    @asynccontextmanager
    async def receiver(self) -> AsyncIterator[int]:
        """Run a receiver; give its port."""
        config = self.cluster.config
        async with AsyncExitStack() as stack:
            fetch = await stack.enter_async_context(fetching(config))
            follower = Follower(self.cluster)
            await follower.start()
            stack.push_async_callback(follower.stop)
            directory = Directory(self.cluster, follower)
            await directory.start()
            registry = Registry(self.cluster, follower, directory, self.keyring, KINDS.__getitem__)
            made = Receiver(config, registry, Store(self.cluster, config.in_flight_bytes), fetch, 0.01)
            task = asyncio.create_task(made.run())
            stack.push_async_callback(ended, task)
            await rig.until(lambda: not made.waiting() or task.done())
            yield int(made.address.rpartition(":")[2])
            assert not task.done()

    async def stored(self) -> dict[str, int]:
        """Count the records of every topic there is, with an independent client."""
        return {topic: len(await rig.read(self.cluster, topic)) for topic in TOPICS}


async def ask(port: int, raw: bytes) -> tuple[int, bytes]:
    """Send bytes on a connection of their own; give the answer's status, 0 for none, and all of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(-1), 15)
    except ConnectionError:
        return 0, b""
    finally:
        writer.close()
    final = answer.removeprefix(CONTINUE)
    return (int(final.split(b" ", 2)[1]) if final else 0), answer


def forged(paths: dict[str, str]) -> Iterator[Request]:
    """Make what comes close to a real delivery, and is none."""
    github, okta = paths["github"], paths["okta"]
    name = b"X-Hub-Signature-256"
    good = signed(BODY)
    for value in (
        b"", b"sha256=", good[:-1], good[7:], b"SHA256=" + good[7:], good.replace(b"sha256", b"sha1"),
        signed(BODY, "another"), signed(BODY, ""), signed(BODY + b" "), good + b"00",
        b"sha256=" + b"\xff" * 64,
        base64.b64encode(hmac.digest(SECRET.encode(), BODY, "sha256")), SECRET.encode(),
    ):  # fmt: skip
        yield Request("POST", github, ((name, value),), BODY)
    yield Request("POST", github, ((b"X-Hub-Signature", good), (b"Authorization", SECRET.encode())), BODY)
    yield Request("POST", github, ((name, good), (b"Content-Encoding", b"gzip")), gzip.compress(BODY))
    yield Request("GET", github, ((name, signed(b"")),))
    for path in (okta, f"/v1/github/events/{okta[-32:]}", f"{github[:-1]}{'0' if github[-1] != '0' else '1'}",
                 github.upper(), f"{github}/", f"/{github}", f"{github}%00", f"/x/..{github}"):  # fmt: skip
        yield Request("POST", path, ((name, good),), BODY)
    for value in (
        b"",
        SECRET.encode()[:-1],
        b"Bearer " + SECRET.encode(),
        SECRET.encode() + b"\xff",
        b"Basic eA==",
    ):
        yield Request("POST", okta, ((b"Authorization", value),), BODY)
    yield Request("POST", f"{okta}?authorization={SECRET}", (), BODY)


def others(paths: dict[str, str]) -> Iterator[Request]:
    """Make the handshakes of other providers, which mean nothing at these addresses."""
    for path in (paths["github"], f"/v1/okta/events/{uuid4().hex}"):
        yield Request("GET", path, ((b"X-Okta-Verification-Challenge", b"canary"),))
        yield Request("POST", f"{path}?validationToken=canary")
        yield Request("GET", f"{path}?challenge=canary")
        grid = b'[{"data":{"validationCode":"canary"}}]'
        yield Request("POST", path, ((b"aeg-event-type", b"SubscriptionValidation"),), grid)
        yield Request("OPTIONS", path, ((b"WebHook-Request-Origin", b"canary"),))
        sns = b'{"Type":"SubscriptionConfirmation","SubscribeURL":"http://127.0.0.1:9/canary"}'
        yield Request("POST", path, ((b"x-amz-sns-message-type", b"SubscriptionConfirmation"),), sns)


def fuzzed(paths: dict[str, str], chance: random.Random) -> Iterator[Request]:
    """Make requests by chance, at real addresses and beside them, with headers that matter and none."""
    names = (b"X-Hub-Signature-256", b"Authorization", b"X-GitHub-Event", b"X-GitHub-Delivery",
             b"Content-Type", b"Content-Encoding", b"X-Okta-Request-Id", b"Expect", b"Cookie")  # fmt: skip
    for _ in range(FUZZED):
        path = chance.choice([*paths.values(), f"/v1/github/changed/{uuid4().hex}", "/", "/v1", "//%ff?=&=%"])
        headers = tuple(
            (chance.choice(names), bytes(chance.choices(range(0x20, 0x100), k=chance.randrange(60))))
            for _ in range(chance.randrange(6))
        )
        size = chance.choice((0, 1, 40, 900, 9_000))
        yield Request(chance.choice(METHODS), path, headers, chance.randbytes(size))


def broken(paths: dict[str, str], chance: random.Random) -> Iterator[bytes]:
    """Take real deliveries apart: lengths that lie, chunks that don't add up, pieces missing or changed."""
    good = Request("POST", paths["github"], ((b"X-Hub-Signature-256", signed(BODY)),), BODY).raw()
    head = good.partition(b"Content-Length")[0]
    yield head + b"Content-Length: 9\r\nContent-Length: 40\r\n\r\n" + BODY
    yield head + b"Content-Length: 0x28\r\n\r\n" + BODY
    yield head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY
    yield head + b"Transfer-Encoding: chunked\r\n\r\n28\r\n" + BODY[:-1] + b"\r\n0\r\n\r\n"
    yield head + b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 40\r\n\r\n" + BODY
    for _ in range(100):
        place = chance.randrange(len(good) - len(BODY), len(good))
        yield good[:place] + bytes([good[place] ^ (1 << chance.randrange(8))]) + good[place + 1 :]


@pytest.fixture
async def deployment(kafka: Broker, topic_prefix: str) -> Deployment:
    """Give a deployment of its own topics."""
    made = Deployment(await rig.topics(kafka.bootstrap, topic_prefix))
    await made.register()
    return made


async def test_nothing_of_strangers_reaches_kafka(deployment: Deployment) -> None:
    """Forgeries, handshakes of others, noise and broken HTTP: refused, and no topic has a record more."""
    chance, statuses, places = random.Random(8), Counter[int](), asyncio.Semaphore(AT_ONCE)
    before = await deployment.stored()
    async with deployment.receiver() as port:

        async def send(raw: bytes) -> None:
            async with places:
                status, answer = await ask(port, raw)
            statuses[status] += 1
            assert status in (0, *REFUSED), raw[:600].decode("latin-1")
            assert b"canary" not in answer
            assert SECRET.encode() not in answer

        paths = deployment.paths
        requests = [*forged(paths), *others(paths), *fuzzed(paths, chance)]
        junk = [one.raw() for one in requests] + list(broken(paths, chance))
        await asyncio.gather(*map(send, junk))
        assert await deployment.stored() == before
        assert statuses[410] > FUZZED / 2

        real = ((b"X-Hub-Signature-256", signed(BODY)), (b"X-GitHub-Delivery", b"d1"))
        assert (await ask(port, Request("POST", paths["github"], real, BODY).raw()))[0] == 200
        owned = ((b"Authorization", SECRET.encode()),)
        assert (await ask(port, Request("POST", paths["okta"], owned, BODY).raw()))[0] == 200
    found = [Inbox.load(one.value() or b"") for one in await rig.read(deployment.cluster, "inbox")]
    assert sorted(one.connector for one in found) == ["github", "okta"]
    assert statuses[0] == 0, statuses
