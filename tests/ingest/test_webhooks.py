"""The receiver without Kafka: what it answers, what it hands to the store, and that nothing makes it fail."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

import aiohttp
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.consuming import Follower, Incoming
from ingest.credentials import Keyring
from ingest.directory import Directory
from ingest.handshakes import grid_code, header_challenge, query_echo
from ingest.keysigned import Jwt
from ingest.producing import Outgoing
from ingest.provider import Answer, Delivery, Hooked, Provider, Settings, hook
from ingest.publickeys import PublicKeys, UnfetchedError
from ingest.push import Scheme
from ingest.registrations import Registry, Route
from ingest.signatures import Guard, Hmac
from ingest.state import key
from ingest.storing import Outcome, Store
from ingest.tasks import ended
from ingest.webhooks import AGAIN, REFUSED, Rates, Receiver, record
from schemas.control import Inbox, Registration, Wish

ID = "0123456789abcdef0123456789abcdef"
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
SECRET = "It's a Secret to Everybody"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CERTS = "https://www.googleapis.com/oauth2/v3/certs"


class Confirmed(Hmac):
    """A scheme with a message that asks to fetch something, and one that breaks it."""

    largest = 100

    def confirm_address(self, delivery: Delivery) -> str | None:
        """Name an address."""
        return "https://confirm.example/" if delivery.body == b"confirm" else None

    def delivery_id(self, delivery: Delivery) -> str | None:
        """Stumble over a body."""
        return str(int(delivery.body[2:])) if delivery.body.startswith(b"id") else None


class Pushing(Provider[Settings]):
    """A provider with one hook of each temper."""

    name: ClassVar[str] = "pushing"
    settings_type: ClassVar[type[Settings]] = Settings

    @hook(Hmac("X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery"))
    def signed(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()

    @hook(
        Guard(
            Jwt(CERTS), ok=Answer(202),
            handshakes=[header_challenge("X-C", "v"), query_echo("challenge", "GET"), grid_code],
        )
    )  # fmt: skip
    def token(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()

    @hook(Confirmed("S"))
    def confirming(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()

    @hook(Scheme())
    def closed(self, delivery: Delivery) -> Iterable[Hooked]:
        """Give nothing."""
        del delivery
        return ()


class Shelf(Store):
    """A store that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(Cluster(Config()), 1024 * 1024)
        self.records: list[Outgoing] = []
        self.outcome: Outcome | None = "stored"
        self.away = ""

    def put(self, record: Outgoing) -> "asyncio.Future[Outcome] | None":
        """Keep it."""
        if self.outcome is None:
            return None
        self.records.append(record)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(self.outcome)
        return future

    async def run(self) -> None:
        """Wait for the end."""
        await asyncio.Event().wait()


class Known(Registry):
    """A registry that is told, instead of reading."""

    async def start(self) -> None:
        """Have nothing to read."""


class Desk:
    """A receiver and what it stands on."""

    def __init__(self, **config: Any) -> None:
        cluster, self.keyring = Cluster(Config()), Keyring([b"k" * 32])
        self.directory = Directory(cluster, Follower(cluster))
        self.registry = Known(cluster, Follower(cluster), self.directory, self.keyring, lambda _: Pushing)
        self.shelf = Shelf()
        self.pages: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.receiver = Receiver(Config(**config), self.registry, self.shelf, self.fetch, 0.0)
        for number, name in enumerate(("signed", "token", "confirming", "closed")):
            self.register(name, f"{ID[:-1]}{number}")

    def register(self, name: str, id_: str, wish: Wish | None = None, **more: Any) -> None:
        """Tell of a connector and its registration, as Kafka would."""
        wish = wish or Wish(name=f"c-{name}", provider="pushing", incarnation="1", partition=3)
        made = Registration(incarnation="1", kind="Manual", axis="x", id=id_, hook=name,
                            sealed=self.keyring.seal(SECRET, f"{wish.name}/1"), **more)  # fmt: skip
        self.told("connectors", wish.name.encode(), wish.dump())
        self.told("subscriptions", key(wish.name, "Manual", ""), made.dump())

    def told(self, topic: str, key_: bytes, value: bytes | None) -> None:
        """Read one record."""
        incoming = Incoming(topic, 3, 0, key_, value, (), 0)
        (self.directory if topic == "connectors" else self.registry)._deliver([incoming])

    async def fetch(self, address: str) -> tuple[bytes, float]:
        """Fetch what there is."""
        self.fetched.append(address)
        if address not in self.pages:
            raise UnfetchedError("nothing there")
        return self.pages[address], 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve; give the address."""
        task = asyncio.create_task(self.receiver.run())
        while not self.receiver.address and not task.done():  # noqa: ASYNC110 it has no event to wait for
            await asyncio.sleep(0)
        try:
            yield self.receiver.address
        finally:
            await ended(task)


def path(name: str) -> str:
    """Give the path of a hook."""
    return f"/v1/pushing/{name}/{ID[:-1]}{('signed', 'token', 'confirming', 'closed').index(name)}"


async def send(method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Make one request; underscores in a header's name stand for hyphens."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body, headers=named) as reply,
    ):
        return reply.status, dict(reply.headers), await reply.read()


def bearer(key_: rsa.RSAPrivateKey = KEY, kid: str = "0") -> str:
    """Make a token for our secret as audience."""
    end = int(datetime.now(UTC).timestamp()) + 60
    return "Bearer " + jwt.encode({"aud": SECRET, "exp": end}, key_, "RS256", headers={"kid": kid})


def jwks(key_: rsa.RSAPrivateKey = KEY, kid: str = "0") -> bytes:
    """Publish a key."""
    listed = RSAAlgorithm.to_jwk(key_.public_key(), as_dict=True)
    return orjson.dumps({"keys": [{**listed, "kid": kid, "alg": "RS256"}]})


async def test_github_documented_example() -> None:
    """The example of GitHub's "Validating webhook deliveries" is stored, in the connector's partition."""
    desk = Desk()
    async with desk.running() as address:
        status, headers, body = await send(
            "POST",
            address + path("signed"),
            b"Hello, World!",
            X_Hub_Signature_256=GITHUB,
            X_GitHub_Delivery="72d3162e",
        )
    (stored,) = desk.shelf.records
    assert (status, body, headers["Server"]) == (200, b"", "sluice")
    assert (stored.topic, stored.partition, stored.key) == ("inbox", 3, b"c-signed")
    found = Inbox.load(stored.value or b"")
    assert (found.hook, found.axis, found.delivery_id, found.body) == (
        "signed",
        "x",
        "72d3162e",
        "SGVsbG8sIFdvcmxkIQ==",
    )


async def test_each_outcome_of_the_store_has_its_answer() -> None:
    """Stored: success; refused by the broker: too large; late or away: come again."""
    desk = Desk()
    async with desk.running() as address:
        for outcome, expected in (
            ("refused", 413),
            ("late", 503),
            (None, 503),
            ("stored", 200),
            ("late", 200),
        ):
            desk.shelf.outcome = cast("Outcome | None", outcome)
            status, headers, _ = await send(
                "POST",
                address + path("signed"),
                b"Hello, World!",
                X_Hub_Signature_256=GITHUB,
                X_GitHub_Delivery="1",
            )
            assert status == expected
            assert ("Retry-After" in headers) == (status == 503)


async def test_an_address_takes_so_many_a_second() -> None:
    """What is beyond the rate is to be sent again, and another address is not concerned."""
    desk = Desk(receive_rate=1)
    desk.register("signed", "f" * 32, Wish(name="other", provider="pushing", incarnation="1", partition=0))
    async with desk.running() as address:
        urls = [address + path("signed")] * 4 + [f"{address}/v1/pushing/signed/{'f' * 32}"]
        answers = [(await send("POST", url, b"Hello, World!", X_Hub_Signature_256=GITHUB))[0] for url in urls]
    assert answers == [200, 200, 503, 503, 200]


async def test_tokens_are_checked_by_fetched_keys() -> None:
    """The key is fetched once; while it is not to be had the provider is asked to come again."""
    desk = Desk()
    async with desk.running() as address:
        url = address + path("token")
        assert (await send("POST", url, b"{}", Authorization=bearer()))[0] == AGAIN.status
    desk = Desk()
    desk.pages[CERTS] = jwks()
    async with desk.running() as address:
        url = address + path("token")
        for _ in range(3):
            assert (await send("POST", url, b"{}", Authorization=bearer()))[0] == 202
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert (await send("POST", url, b"{}", Authorization=bearer(other)))[0] == REFUSED.status
        assert (await send("POST", url, b"{}"))[0] == REFUSED.status
    assert desk.fetched == [CERTS]
    assert len(desk.shelf.records) == 3
    assert all(b"earer" not in (one.value or b"") for one in desk.shelf.records)


async def test_handshakes_come_before_everything() -> None:
    """Each of several is answered without a signature; HEAD and a delivery without one are refused."""
    desk = Desk()
    async with desk.running() as address:
        url = address + path("token")
        assert (await send("GET", url, X_C="hello"))[2] == b'{"v":"hello"}'
        assert (await send("GET", url + "?challenge=%3Cb%3E"))[2] == b"<b>"
        assert (await send("GET", url + "?other=1"))[0] == REFUSED.status
        assert (await send("HEAD", url))[0] == REFUSED.status
        assert (await send("POST", address + path("closed"), b"{}"))[0] == REFUSED.status
    assert desk.shelf.records == []


async def test_a_registration_is_confirmed_by_fetching() -> None:
    """What is verified and asks for it is answered once the address has been fetched; it is not stored."""
    desk = Desk()

    async def push(address: str, body: bytes) -> int:
        signature = hmac.digest(SECRET.encode(), body, "sha256").hex()
        return (await send("POST", address + path("confirming"), body, S=signature))[0]

    async with desk.running() as address:
        assert (await send("POST", address + path("confirming"), b"confirm", S="00" * 32))[
            0
        ] == REFUSED.status
        assert desk.fetched == []
        assert await push(address, b"confirm") == 503
        desk.pages["https://confirm.example/"] = b"done"
        assert await push(address, b"confirm") == 200
        assert desk.shelf.records == []
        assert await push(address, b"idx") == 200
        assert await push(address, b"x" * 100) == 200
        assert await push(address, b"x" * 101) == 413
    assert len(desk.shelf.records) == 2


async def test_disabled_and_gone() -> None:
    """A disabled connector's delivery is accepted, a removed one's refused."""
    desk = Desk()
    push: Callable[[str], Awaitable[Any]] = lambda address: send(  # noqa: E731 one call, three times
        "POST", address + path("signed"), b"Hello, World!", X_Hub_Signature_256=GITHUB
    )
    wish = Wish(name="c-signed", provider="pushing", incarnation="1", partition=3, enabled=False)
    async with desk.running() as address:
        desk.told("connectors", b"c-signed", wish.dump())
        assert (await push(address))[0] == 200
        for change in ({"removing": True}, {"incarnation": "2"}, None):
            gone = None if change is None else wish.model_copy(update=change).dump()
            desk.told("connectors", b"c-signed", gone)
            assert (await push(address))[0] == REFUSED.status
        desk.told("connectors", b"c-signed", wish.dump())
        desk.told("subscriptions", key("c-signed", "Manual", ""), b"not a record")
        assert (await push(address))[0] == REFUSED.status


@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD", "PATCH"]),
    st.sampled_from(["signed", "token", "confirming", "closed", "other"]),
    st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["X-Hub-Signature-256", "X-C", "S", "Authorization", "aeg-event-type", "Content-Type",
                         "Content-Encoding", "Expect", "X-GitHub-Delivery"]),
        st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\0"))
        | st.sampled_from([b"SubscriptionValidation", b"100-continue", b"gzip", b"sha256=" + b"0" * 64]),
    ),
    st.binary(max_size=80) | st.sampled_from([b"[]", b"{}", b'[{"data":null}]', b"[" * 70]),
)  # fmt: skip
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nothing_makes_it_fail(
    fuzzed: "Fuzzed", method: str, name: str, query: str, headers: dict[str, bytes], body: bytes
) -> None:
    """Whatever bytes come are answered, and the connection is as good as before."""
    place = path(name) if name != "other" else "/v1/pushing/other/x"
    raw = query.encode("utf-8", "replace").hex()
    lines = [f"{method} {place}?challenge={raw}&{raw} HTTP/1.1".encode(), b"Host: x"]
    lines += [one.encode() + b": " + text for one, text in headers.items()]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    status = await fuzzed.ask(b"\r\n".join(lines))
    assert status in {200, 202, 400, 410}


class Fuzzed:
    """A receiver and a raw way to it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, request: bytes) -> int:
        """Send bytes on a connection of their own and read the status of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            async with asyncio.timeout(5):
                status = await reader.readline()
                while status.startswith(b"HTTP/1.1 100"):
                    await reader.readline()
                    status = await reader.readline()
            return int(status.split(b" ")[1])
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def fuzzed() -> AsyncIterator[Fuzzed]:
    """Run a receiver for all examples."""
    desk = Desk()
    desk.pages[CERTS] = jwks()
    async with desk.running() as address:
        yield Fuzzed(int(address.rpartition(":")[2]))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=10).map(
    lambda text: text.encode("utf-8").decode("ascii", "surrogateescape")
)


@given(
    st.dictionaries(TEXTS, TEXTS), st.dictionaries(TEXTS, TEXTS), st.binary(max_size=100), TEXTS | st.none()
)
def test_a_record_reads_back(
    headers: dict[str, str], query: dict[str, str], body: bytes, named: str | None
) -> None:
    """What is written by hand is what the model reads, also where bytes are no UTF-8."""
    wish = Wish(name="cönnector", provider="pushing", incarnation="1", partition=3)
    registration = Registration(incarnation="1", kind="k", axis="a/b", id=ID)
    route = Route(ID, wish, registration, Pushing.hooks()["signed"], (SECRET,), ())
    made = record(route, Delivery("POST", {**headers, "authorization": "canary"}, query, body), named)
    found = Inbox.load(made.value or b"")
    again = Inbox.load(found.dump())
    assert found == again
    assert (found.connector, found.axis, found.kind) == ("cönnector", "a/b", "delivery")
    assert base64.b64decode(found.body) == body
    assert len(found.headers) <= len(headers)
    assert "authorization" not in found.headers
    assert found.delivery_id


def test_rates() -> None:
    """Two seconds' worth at once, then as time passes."""
    now = [0.0]
    rates = Rates(2.0, lambda: now[0])
    assert [rates.spend("a") for _ in range(5)] == [True] * 4 + [False]
    assert rates.spend("b")
    now[0] = 0.5
    assert [rates.spend("a") for _ in range(2)] == [True, False]


async def test_public_keys_are_kept_and_bounded() -> None:
    """Fetched once, anew when asked to after a minute, failures for seconds; never more than so many."""
    now, calls, there = [0.0], list[str](), [True]

    async def fetch(address: str) -> tuple[bytes, float]:
        calls.append(address)
        if not there[0]:
            raise UnfetchedError("away")
        return address.encode(), 600.0

    keys = PublicKeys(fetch, lambda: now[0])
    assert await asyncio.gather(*(keys.get("a") for _ in range(3))) == [b"a"] * 3
    assert await keys.get("a", anew=True) == b"a"
    assert calls == ["a"]
    now[0] = 61.0
    await keys.get("a", anew=True)
    assert calls == ["a", "a"]
    now[0], there[0] = 700.0, False
    for _ in range(2):
        with pytest.raises(UnfetchedError):
            await keys.get("a")
    assert len(calls) == 3
    now[0], there[0] = 706.0, True
    for number in range(200):
        await keys.get(str(number))
    assert len(keys._kept) == 64
    assert not keys._locks
