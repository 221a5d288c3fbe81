"""`sluice doctor`: what could be wrong with an installation, each line with what to do."""

import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from ingest.cluster import Cluster
from ingest.config import Config, ConfigError
from ingest.consuming import UnreadableError
from ingest.credentials import Keyring, SealError
from ingest.errors import Misconfigured, NotAllowed
from schemas.publish import check as stale_schemas
from sluice.java import LOCK, BrokerError, cache_folder, find_java, read_lock
from sluice.operate import Desk, View, now, settings
from sluice.terminal import FailedError

_VERIFY = "transaction.partition.verification.enable"
_SKEW = 60_000
_BUILT = 1_767_225_600_000
"""2026-01-01: a clock that shows an earlier time is wrong."""


class Line(NamedTuple):
    """One check: what was looked at, whether it is well, and what was found or is to be done."""

    what: str
    ok: bool
    told: str


async def checkup() -> AsyncIterator[Line]:
    """Yield one line a check; what can't be looked at because of an earlier one is left out."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Line("python", sys.version_info >= (3, 11), f"{version}, 3.11 or later is needed")
    yield _java()
    stale = stale_schemas()
    yield Line("schemas", not stale, f"out of date: {', '.join(stale)}" if stale else "as the code has them")
    try:
        config = settings()
        keyring = Keyring.of(config)
    except (ConfigError, FailedError) as error:
        yield Line("settings", False, str(error))
        return
    where = "SLUICE_KEY" if config.key.get_secret_value() else str(config.key_file)
    yield Line("key", True, f"usable, from {where}")
    async for line in _kafka(config, keyring):
        yield line


def _java() -> Line:
    try:
        java = find_java()
    except BrokerError as error:
        return Line("java", False, str(error))
    jars = read_lock(LOCK.read_text(encoding="utf-8"))
    missing = sum(not (cache_folder() / jar.filename).exists() for jar in jars)
    rest = (
        f"{missing} of Kafka's {len(jars)} jars are downloaded at the first start" if missing else "jars here"
    )
    return Line("java", True, f"{java}, {rest}")


async def _kafka(config: Config, keyring: Keyring) -> AsyncIterator[Line]:
    cluster = Cluster(config)
    try:
        verification = await _verification(cluster)
        yield Line("kafka", True, config.kafka)
        yield Line(
            "brokers",
            not verification,
            f"{_VERIFY} must be true: {verification}" if verification else _VERIFY,
        )
        await cluster.learn(verify=False)
        drift = await cluster.drift()
    except NotAllowed as error:
        yield Line("topics", False, str(error))
        return
    except (Misconfigured, KafkaError) as error:
        yield Line("kafka", False, str(error))
        return
    odd = [
        f"{cluster.name(topic)}: {setting} is {found}, should be {wanted}"
        for topic, settings in drift.items()
        for setting, (wanted, found) in settings.items()
    ]
    yield Line("topics", not odd, "; ".join(odd) or "as meant")
    try:
        view = await Desk(cluster, keyring).view()
    except UnreadableError as error:
        yield Line("connectors", False, str(error))
        return
    yield _connectors(view, keyring)
    yield _clock(view)


async def _verification(cluster: Cluster) -> str:
    """Name the brokers that let a late write of a dead producer into a transaction (KIP-890)."""
    admin = await cluster.admin()
    try:
        brokers = (await admin.describe_cluster())["brokers"]
        resources = [ConfigResource(ConfigResourceType.BROKER, str(one["node_id"])) for one in brokers]
        replies = await admin.describe_configs(resources)
    finally:
        await admin.close()
    found = {
        name: {entry[0]: entry[1] for entry in entries}.get(_VERIFY)
        for reply in replies
        for _code, _message, _kind, name, entries in reply.resources
    }
    return ", ".join(f"broker {name}: {value}" for name, value in found.items() if value != "true")


def _connectors(view: View, keyring: Keyring) -> Line:
    closed, old, alone = [], [], []
    for name, wish in sorted(view.wishes.items()):
        try:
            if wish.sealed:
                keyring.open(wish.sealed, f"{name}/{wish.incarnation}")
                old += [] if keyring.current(wish.sealed) else [name]
        except SealError:
            closed.append(name)
        status = view.status(name)
        if status is None or status.revision != wish.revision:
            alone.append(name)
    wrong = [
        f"{', '.join(names)}: {what}"
        for names, what in (
            (closed, "SLUICE_KEY does not open the secrets: add the key that sealed them"),
            (old, "sealed with an older key: `sluice key rotate`"),
            (alone, "no owner runs them as wished: is `sluice run ingest` up?"),
        )
        if names
    ]
    return Line("connectors", not wrong, "; ".join(wrong) or f"{len(view.wishes)}, all run as wished")


def _clock(view: View) -> Line:
    """Compare our time with that of the owners' reports: later than now can't be."""
    moment = now()
    ahead = max((s.at for name in view.wishes if (s := view.status(name))), default=0) - moment
    if moment < _BUILT:
        return Line("clock", False, "this machine's clock is in the past: set it (NTP)")
    if ahead > _SKEW:
        return Line(
            "clock",
            False,
            f"an owner's report is {ahead // 1000} s ahead of this clock: compare clocks (NTP)",
        )
    return Line("clock", True, "agrees with the owners' reports")
