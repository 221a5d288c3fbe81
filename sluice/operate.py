"""The operator's side of the control records: which Kafka, what is wished, what the owners report.

Wishes are plain idempotent sends, for this side alone to write. Whether one is in effect, its connector's
owner says: it reports the revision it runs.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ingest.cluster import Cluster
from ingest.config import Config, load
from ingest.consuming import Follower, Incoming, Place, read_to_end
from ingest.credentials import Keyring, key_at
from ingest.errors import Misconfigured
from ingest.links import Links
from ingest.producing import Outgoing, Sender
from ingest.provider import Provider
from ingest.state import STATUS, parts_of
from schemas.control import Registration, Status, UnreadableRecordError, Wish
from sluice.broker_folder import data_folder
from sluice.terminal import FailedError, WrongCallError, note

OWNER_SECONDS = 10.0
"""How long an owner may take to report a change before we say that there is none."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


# ---- which Kafka


def home() -> Path:
    """Where this user's Sluice keeps its key and says what runs; Kafka's own data folder lies inside."""
    return data_folder().parent


def announce(kafka: str, *, metrics: str = "", prefix: str = "", key_file: Path | str = "") -> None:
    """Tell the other commands on this machine which Kafka to use, while this process lives."""
    home().mkdir(parents=True, exist_ok=True)
    told = {
        "kafka": kafka,
        "metrics": metrics,
        "pid": os.getpid(),
        "prefix": prefix,
        "key_file": str(key_file),
    }
    fresh = home() / f"run.json.{os.getpid()}"
    fresh.write_text(json.dumps(told), encoding="utf-8")
    fresh.replace(home() / "run.json")


def withdraw() -> None:
    """Take our announcement back; that of a later process stays."""
    if (announced() or {}).get("pid") == os.getpid():
        (home() / "run.json").unlink(missing_ok=True)


def announced() -> dict[str, Any] | None:
    """Read what runs on this machine; what a dead process left is passed over."""
    try:
        told = json.loads((home() / "run.json").read_text(encoding="utf-8"))
        os.kill(told["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(told)


def keyed(config: Config) -> Config:
    """Fill in the key that is kept in this user's data folder where no setting names another."""
    if config.key.get_secret_value() or config.key_file:
        return config
    path = home() / "key"
    key_at(path)
    return config.model_copy(update={"key_file": path})


def settings() -> Config:
    """Read the settings for a command that needs Kafka.

    Raises:
        ConfigError: A setting is wrong.
        FailedError: No Kafka is named, and none runs here.
    """
    config = load()
    if not config.kafka:
        told = announced()
        if told is None:
            raise FailedError("no Kafka: set SLUICE_KAFKA or start `sluice up`")
        update: dict[str, Any] = {"kafka": told["kafka"], "prefix": told["prefix"]}
        if told["key_file"]:
            update["key_file"] = Path(told["key_file"])
        config = config.model_copy(update=update)
    return keyed(config)


# ---- what is wished and reported


class View:
    """Wishes and their owners' reports, of some partitions: read to the end, followed in `async with`."""

    def __init__(self, cluster: Cluster, partitions: Iterable[int] | None = None) -> None:
        self._cluster = cluster
        numbers = range(cluster.owners) if partitions is None else partitions
        topics = ("connectors", "cursors", "subscriptions")
        self._places = [Place(topic, p) for p in numbers for topic in topics]
        self._follower = Follower(cluster, "cli")
        self._changed = asyncio.Event()
        self.wishes: dict[str, Wish] = {}
        self._statuses: dict[str, Status] = {}
        self._registrations: dict[str, dict[tuple[str, ...], Registration]] = {}

    async def read(self) -> dict[Place, int]:
        """Read to the end and say where to go on.

        Raises:
            UnreadableError: Kafka does not answer.
        """
        return await read_to_end(self._cluster, self._places, self._take, 30.0)

    async def __aenter__(self) -> Self:
        ends = await self.read()
        await self._follower.start()
        for place in self._places:
            self._follower.follow(place, ends.get(place, 0), self._deliver)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._follower.stop()

    def status(self, name: str) -> Status | None:
        """What the owner reports of a connector as it is wished now, not of a predecessor of its name."""
        status, wish = self._statuses.get(name), self.wishes.get(name)
        return status if status and wish and status.incarnation == wish.incarnation else None

    def registrations(self, name: str) -> list[Registration]:
        """What is registered at the provider for a connector as it is wished now, and what by hand."""
        wish, found = self.wishes.get(name), self._registrations.get(name, {})
        return [
            found[place] for place in sorted(found) if wish and found[place].incarnation == wish.incarnation
        ]

    async def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so; False when the time is up."""
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError:
            return done()
        return True

    def _deliver(self, records: list[Incoming]) -> None:
        for record in records:
            self._take(record)
        self._changed.set()

    def _take(self, record: Incoming) -> None:
        parts = parts_of(record.key)
        name = record.key.decode("utf-8", "replace") if record.topic == "connectors" else parts[0]
        if record.topic == "cursors" and parts[1:] != [STATUS]:
            return
        try:
            if record.topic == "connectors":
                self._keep(self.wishes, name, None if record.value is None else Wish.load(record.value))
            elif record.topic == "subscriptions":
                made = None if record.value is None else Registration.load(record.value)
                self._keep(self._registrations.setdefault(name, {}), tuple(parts[1:]), made)
            else:
                self._keep(self._statuses, name, None if record.value is None else Status.load(record.value))
        except UnreadableRecordError as error:
            note(f"{name}: passed over, {error}")

    @staticmethod
    def _keep(into: dict[Any, Any], name: Any, value: Any) -> None:
        if value is None:
            into.pop(name, None)
        else:
            into[name] = value


class Outcome(NamedTuple):
    """What came of a change: `applied`, `unowned` (no owner reported in time) or `stored` (nobody waited)."""

    name: str
    change: str
    status: Status | None = None


class Desk:
    """One deployment as its operator sees it: reads wishes and reports, writes wishes."""

    def __init__(
        self, cluster: Cluster, keyring: Keyring, kinds: Mapping[str, type[Provider[Any]]] | None = None
    ) -> None:
        """Keep the cluster (its partitions known) and the keys; `kinds` are the providers, if not all."""
        self.cluster, self.keyring, self.kinds = cluster, keyring, kinds

    @classmethod
    async def open(cls, config: Config) -> Self:
        """Reach Kafka.

        Raises:
            Misconfigured: It does not answer, or topics are missing.
            ConfigError: The key can't be used.
        """
        keyring, cluster = Keyring.of(config), Cluster(config)
        await cluster.learn()
        return cls(cluster, keyring)

    @property
    def links(self) -> Links:
        """The links to the providers."""
        return Links(self.keyring, self.kinds, ca_file=self.cluster.config.ca_file)

    def kind(self, provider: str) -> type[Provider[Any]]:
        """Get a provider's class.

        Raises:
            WrongCallError: There is none of this name.
        """
        try:
            return self.links.kind(provider)
        except Misconfigured as error:
            raise WrongCallError(str(error)) from None

    async def view(self) -> View:
        """Read everything once."""
        view = View(self.cluster)
        await view.read()
        return view

    async def wish(self, name: str) -> Wish:
        """Find a connector.

        Raises:
            WrongCallError: There is none of this name.
        """
        wishes = (await self.view()).wishes
        if name not in wishes:
            known = ", ".join(sorted(wishes)) or "none yet, make one with `sluice connect`"
            raise WrongCallError(f"there is no connector {name!r}; there are: {known}")
        return wishes[name]

    async def write(self, *records: Outgoing) -> None:
        """Store records durably.

        Raises:
            RefusedError, BrokenError, Misconfigured: They are not stored.
        """
        async with Sender(self.cluster, "cli") as sender:
            await sender.write(records)

    async def store(self, wish: Wish, seconds: float = OWNER_SECONDS) -> Outcome:
        """Store a wish and wait until its owner runs it; with 0 seconds don't wait.

        Raises:
            FailedError: Somebody else changed the connector meanwhile.
        """
        record = Outgoing("connectors", wish.partition, wish.name.encode(), wish.dump())
        if not seconds:
            await self.write(record)
            return Outcome(wish.name, "stored")
        async with View(self.cluster, [wish.partition]) as view:
            await self.write(record)

            def overtaken() -> bool:
                now = view.wishes.get(wish.name)
                return now is not None and now.revision >= wish.revision and now.dump() != wish.dump()

            def reported() -> bool:
                status = view.status(wish.name)
                return status is not None and status.revision >= wish.revision

            await view.until(lambda: overtaken() or reported(), seconds)
            status = view.status(wish.name)
            if overtaken() or (status and status.revision > wish.revision):
                raise FailedError(f"{wish.name} was changed by someone else at the same time: look with "
                                  f"`sluice status {wish.name}`, then try again")  # fmt: skip
            applied = status is not None and status.revision == wish.revision
            return Outcome(wish.name, "applied" if applied else "unowned", status if applied else None)

    async def able(self, name: str, *, enabled: bool, seconds: float = OWNER_SECONDS) -> Outcome:
        """Disable or enable a connector; one that is so already stays as it is.

        Raises:
            WrongCallError: It can't be disabled, or there is none.
        """
        wish = await self.wish(name)
        if not enabled and not self.kind(wish.provider).can_disable:
            raise WrongCallError(
                f"{name} can't be disabled: {wish.provider} has no state in which it rests; "
                f"`sluice disconnect {name}` ends it"
            )
        if wish.removing:
            raise WrongCallError(f"{name} is being removed: finish with `sluice disconnect {name}`")
        if wish.enabled == enabled:
            return Outcome(name, "unchanged")
        return await self.store(
            wish.model_copy(update={"enabled": enabled, "revision": wish.revision + 1}), seconds
        )

    async def disconnect(self, name: str, seconds: float = 30.0) -> Outcome:
        """Have the owner clean up, then take the wish away; called again, it goes on where it was."""
        wish = await self.wish(name)
        async with View(self.cluster, [wish.partition]) as view:
            if not wish.removing:
                wish = wish.model_copy(update={"removing": True, "revision": wish.revision + 1})
                await self.write(Outgoing("connectors", wish.partition, name.encode(), wish.dump()))

            def removed() -> bool:
                status = view.status(name)
                return status is not None and status.state == "removed"

            if not await view.until(removed, seconds):
                return Outcome(name, "unowned")
        await self.write(Outgoing("connectors", wish.partition, name.encode(), None))
        return Outcome(name, "removed")

    async def reseal(self) -> list[str]:
        """Seal anew, with the newest key, every wish that an older one sealed; name them.

        Raises:
            SealError: A key that is needed is missing.
        """
        fresh = []
        for wish in (await self.view()).wishes.values():
            if wish.sealed and not self.keyring.current(wish.sealed):
                owner = f"{wish.name}/{wish.incarnation}"
                sealed = self.keyring.seal(self.keyring.open(wish.sealed, owner), owner)
                update = {"sealed": sealed, "generation": wish.generation + 1, "revision": wish.revision + 1}
                fresh.append(wish.model_copy(update=update))
        if fresh:
            await self.write(*(Outgoing("connectors", w.partition, w.name.encode(), w.dump()) for w in fresh))
        return sorted(wish.name for wish in fresh)


def checked_name(name: str) -> str:
    """Give a connector's name back.

    Raises:
        WrongCallError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise WrongCallError(
            f"{name!r} can't be a connector's name: take at most 63 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


def now() -> int:
    """Tell the time, ms since 1970."""
    return int(time.time() * 1000)
