"""`sluice normalize`: a provider's records through its mapper, without a tenant, a network or Kafka."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from ingest.catalog import providers
from ingest.errors import BadRecord
from ingest.provider import Instance, Mapper, Provider
from schemas.events import Origin, stamp
from schemas.validation import InvalidEventError, encode, validate
from sluice.terminal import WrongCallError

INSTANCE = Instance("instance", "Instance")
"""Stands for the account the records would come from."""


def mapper_of(provider: str, feed: str, mapper: str) -> tuple[type[Provider[Any]], Mapper]:
    """Pick the mapper that is meant; it need not be named where there is only one.

    Raises:
        WrongCallError: There is no such provider, feed or mapper, or one must be named.
    """
    known = providers()
    if provider not in known:
        raise WrongCallError(f"there is no provider {provider!r}; there are: {', '.join(sorted(known))}")
    kind = known[provider]
    feeds = kind.feeds()
    if feed and feed not in feeds:
        raise WrongCallError(f"{provider} has no feed {feed!r}; there are: {', '.join(feeds)}")
    found = {
        (name, given): to
        for name, each in feeds.items()
        for given, to in each.to.items()
        if feed in ("", name) and mapper in ("", given)
    }
    if len(set(found.values())) == 1:
        return kind, next(iter(found.values()))
    if not found:
        raise WrongCallError(f"there is no mapper {mapper!r} in that feed; see `sluice providers --json`")
    if len({name for name, _ in found}) > 1:
        names = ", ".join(dict.fromkeys(name for name, _ in found))
        raise WrongCallError(f"{provider} has several feeds, name one with --feed: {names}")
    names = ", ".join(given for _, given in found)
    raise WrongCallError(f"{feed} has several mappers, name one with --mapper: {names}")


def normalized(
    kind: type[Provider[Any]], mapper: Mapper, lines: Iterable[bytes], bad: Callable[[int, str], None]
) -> Iterator[bytes]:
    """Yield the events of each line; `bad` hears of a line that has none, and why, without its content."""
    origin = Origin(
        tenant="default", provider=kind.name, instance=INSTANCE.id, instance_name=INSTANCE.name,
        account_type_id=kind.account_type_id, account_type=kind.account_type,
        product={"name": kind.title or kind.name, "vendor_name": kind.vendor or kind.title or kind.name},
    )  # fmt: skip
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = [one for one in mapper(orjson.loads(line), INSTANCE) if isinstance(one, dict)]
            moment = int(time.time() * 1000)
            made = [
                encode(validate(stamp(one, origin, moment, index=index))) for index, one in enumerate(found)
            ]
        except orjson.JSONDecodeError:
            bad(number, "not JSON")
        except (BadRecord, InvalidEventError) as error:
            bad(number, str(error))
        except Exception as error:  # noqa: BLE001 a mapper's every failure costs one record
            bad(number, f"the mapper failed ({type(error).__name__})")
        else:
            yield from made
