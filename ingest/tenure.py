"""One partition while it is ours: fence the predecessor, check, read the state to its true end, run."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import structlog

from ingest.connectors import Connector, Services
from ingest.consuming import Follower, Incoming, Membership, Place, ends, read_to_end
from ingest.errors import Misconfigured
from ingest.inbox import InboxWorker
from ingest.own import Ownership, check, fenced
from ingest.producing import BrokenError, FencedError, Outgoing, Transactions
from ingest.publish import Bytes, Committer, StoppedError, Unit
from ingest.shares import Budget, Owned
from ingest.state import STATUS, PartitionState, key
from ingest.tasks import ended
from schemas.control import Status, Wish

_RESTART_SECONDS = 10.0
_REMOVE_SECONDS = 30.0


class Tenure:
    """Runs everything of one partition until something breaks or it is cancelled."""

    def __init__(
        self, services: Services, membership: Membership, follower: Follower, cap: Bytes, partition: int,
        budget: Budget | None = None,
    ) -> None:  # fmt: skip
        self._services, self._membership, self._follower = services, membership, follower
        self._cap, self.partition, self._budget = cap, partition, budget
        self._connectors: dict[str, Connector] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wishes = asyncio.Event()
        self._committer: Committer | None = None
        self._quota: Owned | None = None
        self._state = PartitionState(partition)
        self.started = asyncio.Event()
        self._log = structlog.get_logger(part="tenure", partition=partition)

    def pause(self) -> None:
        """Begin no transaction: a rebalance is under way and may take the partition from us."""
        if self._committer is not None:
            self._committer.pause()

    def resume(self) -> None:
        """Go on with the same producer: it was not fenced, so nobody was in between."""
        if self._quota is not None:
            self._quota.resumed()
        if self._committer is not None:
            self._committer.resume()

    async def run(self) -> None:
        """Take over and run.

        Raises:
            BrokenError: The producer broke, or the partition is another's.
            UnreadableError: The state's end was not reached.
        """
        async with fenced(self._services.cluster, self._membership, "owner", self.partition) as producer:
            await self._run(producer)

    async def _run(self, producer: Transactions) -> None:
        state = self._state = PartitionState(self.partition)
        places = await read_to_end(self._services.cluster, state.places(), state.take)
        state.settle()
        await check(self._membership, self.partition, state.inbox.offset)
        self._committer = committer = Committer(producer, self._cap)
        place = Place("connectors", self.partition)
        self._follower.follow(place, places.get(place, 0), self._wished)
        quota = self._quota = self._budget.own(state, committer, self._membership) if self._budget else None
        if quota is not None:
            links = self._services.links.sharing(quota.holder)
            self._services = replace(self._services, links=links)
        self._wishes.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(committer.run())
                group.create_task(self._gap())
                group.create_task(
                    InboxWorker(
                        self._services.cluster, state, committer, self._follower, self._connectors
                    ).run()
                )
                group.create_task(self._supervise(group))
                self.started.set()
                self._log.info("partition is ours", connectors=len(state.wishes))
        except* (BrokenError, StoppedError) as errors:
            raise _cause(errors) from None
        finally:
            self._follower.leave(place)
            if self._budget and quota:
                self._budget.disown(quota)
            self._connectors.clear()
            self._tasks.clear()
            self._committer = None

    def _wished(self, records: list[Incoming]) -> None:
        for record in records:
            self._state.wish(record)
        self._wishes.set()

    async def _gap(self) -> None:
        """Say so if the inbox no longer has what we had not read."""
        place = Place("inbox", self.partition)
        found = await ends(self._services.cluster, [place])
        if self._state.inbox.offset > found.get(place, 0):
            self._log.error("the inbox is shorter than our position in it: was the topic made anew?")
            self._state.inbox = self._state.inbox.model_copy(update={"offset": 0})

    # ---- connectors

    async def _supervise(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._wishes.wait()
            self._wishes.clear()
            for name in self._state.names() | set(self._connectors):
                await self._bring(name, self._state.wishes.get(name), group)

    async def _bring(self, name: str, wish: Wish | None, group: asyncio.TaskGroup) -> None:
        running = self._connectors.get(name)
        if running is not None and (wish is None or wish != running.wish):
            await self._end(name)
            running = None
        if wish is None:
            await self._clear(self._state.leftovers(name, whole=True))
        elif wish.removing:
            await self._remove(wish)
        elif running is None:
            try:
                connector = Connector(self._services, wish, self._state, self._ours())
            except Misconfigured as error:
                self._log.error("connector can't run", connector=name, why=str(error))
                return
            await self._clear(self._state.leftovers(name))
            self._connectors[name] = connector
            self._tasks[name] = group.create_task(self._keep(connector), name=f"connector {name}")

    async def _keep(self, connector: Connector) -> None:
        """Run a connector; what it did not expect is logged and it starts again, alone."""
        while True:
            try:
                await connector.run()
            except StoppedError:
                raise
            except Exception:  # noqa: BLE001 one connector's surprise is not the others'
                self._log.exception("connector crashed", connector=connector.wish.name)
                await asyncio.sleep(_RESTART_SECONDS)

    async def _end(self, name: str) -> None:
        self._connectors.pop(name)
        task = self._tasks.pop(name)
        await ended(task)

    async def _remove(self, wish: Wish) -> None:
        """Take registrations away, then the state; acknowledge last. The wish is not ours to delete."""
        state = self._state.connectors.get(wish.name)
        status = state.status if state is not None else None
        if status is not None and (status.state, status.incarnation) == ("removed", wish.incarnation):
            return
        try:
            async with asyncio.timeout(_REMOVE_SECONDS):
                await Connector(self._services, wish, self._state, self._ours()).remove()
        except (Misconfigured, TimeoutError) as error:
            self._log.warning("registrations may remain at the provider", connector=wish.name, why=str(error))
        await self._clear(self._state.leftovers(wish.name, whole=True))
        status = Status(
            connector=wish.name, state="removed", revision=wish.revision, incarnation=wish.incarnation,
            owner=self._services.worker, at=self._services.clock.now(),
        )  # fmt: skip
        mine = self._state.of(wish)
        record = self._state.record("cursors", mine, key(wish.name, STATUS), status)
        await self._ours().commit(Unit([record], [lambda: setattr(mine, "status", status)]))
        self._log.info("connector is removed", connector=wish.name)

    async def _clear(self, records: list[Outgoing]) -> None:
        for start in range(0, len(records), 1000):
            await self._ours().commit(Unit(records[start : start + 1000]))

    def _ours(self) -> Committer:
        if self._committer is None:
            raise StoppedError("handed over")
        return self._committer


def ingest(services: Services, follower: Follower, budget: Budget | None = None) -> Ownership:
    """Put the ingest role together: run the result until cancelled.

    Without `budget` it spends its providers' quotas as if nobody else did.
    """

    def hold(membership: Membership, cap: Bytes, partition: int) -> Tenure:
        return Tenure(services, membership, follower, cap, partition, budget)

    return Ownership(services.cluster, "inbox", "ingest", hold)


def _cause(errors: BaseExceptionGroup[BaseException]) -> BrokenError:
    """Pick the cause of what came at once: when a producer breaks, its connectors are stopped with it."""
    each = list(_leaves(errors))
    broken = [one for one in each if isinstance(one, BrokenError)]
    fenced = [one for one in broken if isinstance(one, FencedError)]
    return next(iter([*fenced, *broken]), BrokenError("handed over"))


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in errors.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one
