"""What is registered at providers, as every receiver knows it: whose delivery an address takes, and its keys.

Registrations are durable before a provider is asked to make them; a receiver follows them and needs to write
nothing of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from ingest.cluster import Cluster
from ingest.consuming import Follower, Incoming, Place, read_to_end
from ingest.credentials import Keyring, SealError
from ingest.directory import Directory
from ingest.errors import Misconfigured
from ingest.provider import Provider
from ingest.push import Hook, Scheme
from ingest.state import parts_of
from schemas.control import Registration, UnreadableRecordError, Wish

_log = structlog.get_logger(part="registrations")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Route:
    """Where the deliveries at one address belong.

    `id` is the part of the address that nobody can guess; `secrets` come newest first, its own before those
    of its successor; `feeds` are those whose polls would find what is delivered as well.
    """

    id: str
    wish: Wish
    registration: Registration
    hook: Hook
    secrets: tuple[str, ...]
    feeds: tuple[str, ...]

    @property
    def scheme(self) -> Scheme:
        """How the address is guarded."""
        return self.hook.scheme


class Registry:
    """The addresses of the deployment by their registration's id."""

    def __init__(
        self,
        cluster: Cluster,
        follower: Follower,
        directory: Directory,
        keyring: Keyring,
        kind: Callable[[str], type[Provider[Any]]],
    ) -> None:
        """Keep what is needed to read them; `kind` gives a provider's class by name."""
        self._cluster, self._follower, self._directory = cluster, follower, directory
        self._keyring, self._kind = keyring, kind
        self._ids: dict[bytes, tuple[str, ...]] = {}
        self._found: dict[str, tuple[str, Registration]] = {}
        self._routes: dict[str, Route] = {}
        self._news: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Read all of them to their end, then follow them.

        Raises:
            UnreadableError: Kafka does not answer; not ready is not the same as empty.
        """
        places = [Place("subscriptions", number) for number in range(self._cluster.owners)]
        ends = await read_to_end(self._cluster, places, self._take)
        self._directory.listen(lambda _: self._tell())
        for place in places:
            self._follower.follow(place, ends.get(place, 0), self._deliver)

    def find(self, provider: str, hook: str, id: str) -> Route | None:  # noqa: A002 reason: the word of the contract
        """Find an address; None: there is none, or its connector is gone."""
        found = self._found.get(id)
        if found is None:
            return None
        name, registration = found
        wish = self._directory.wishes.get(name)
        if wish is None or wish.removing or wish.incarnation != registration.incarnation:
            return None
        route = self._routes.get(id)
        if route is None or route.wish is not wish or route.registration is not registration:
            route = self._made(id, wish, registration)
            if route is None:
                return None
            self._routes[id] = route
        return route if (wish.provider, route.hook.name) == (provider, hook) else None

    def serving(self, route: Route, instances: Sequence[str]) -> list[Route]:
        """Find who else is served through an address, by instance.

        One app's address may serve many connectors. Only those that know its secret are among them: a tenant
        who owns an address must not write into the inbox of another.
        """
        wanted, found = frozenset(instances), []
        for id_, (name, _) in self._found.items():
            wish = self._directory.wishes.get(name)
            if wish is None or wish.provider != route.wish.provider or wish.instance not in wanted:
                continue
            other = self.find(wish.provider, route.hook.name, id_)
            if other is not None and not frozenset(other.secrets).isdisjoint(route.secrets):
                found.append(other)
        return list({one.wish.name: one for one in found}.values())

    async def news(self, seconds: float) -> None:
        """Wait for the next change of a registration or a connector, at most so long."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._news}, timeout=seconds)

    def _made(self, id_: str, wish: Wish, registration: Registration) -> Route | None:
        try:
            kind = self._kind(wish.provider)
            accepted = registration.accepted()
            sealed = [accepted.pop(id_), *accepted.values()]
            opened = [self._keyring.open(one, f"{wish.name}/{wish.incarnation}") for one in sealed if one]
        except (Misconfigured, SealError) as error:
            _log.warning("address can't be served", connector=wish.name, why=str(error))
            return None
        name, feeds = registration.hook, dict[str, None]()
        for each in kind.subscriptions:
            name = name or (each.brings if type(each).__name__ == registration.kind else "")
            if name and each.brings == name:
                feeds |= dict.fromkeys(each.speeds_up)
        hook = kind.hooks().get(name)
        secrets = tuple(one for one in opened if isinstance(one, str) and one)
        return Route(id_, wish, registration, hook, secrets, tuple(feeds)) if hook else None

    def _deliver(self, records: list[Incoming]) -> None:
        for record in records:
            self._take(record)
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def _take(self, record: Incoming) -> None:
        for old in self._ids.pop(record.key, ()):
            self._found.pop(old, None)
            self._routes.pop(old, None)
        if record.value is None:
            return
        name = parts_of(record.key)[0]
        try:
            made = Registration.load(record.value)
        except UnreadableRecordError as error:
            _log.warning("registration passed over", connector=name, why=str(error))
            return
        self._ids[record.key] = tuple(made.accepted())
        self._found |= dict.fromkeys(made.accepted(), (name, made))
