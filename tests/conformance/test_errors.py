"""What a provider answers on a bad day ends in the declared error, and no secret gets out."""

import traceback
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
import structlog
from reading import Connected
from tenants import ALWAYS, Site, secrets_of

from ingest.errors import Retry, SourceError
from ingest.provider import Axis, Page

pytestmark = pytest.mark.slow

Faulty = tuple[Site, str, Connected]


async def first_axes(one: Connected) -> dict[str, Axis]:
    """Find a feed's first axis, while all is well."""
    found = {name: await one.axes(name) for name in one.provider.feeds()}
    return {name: axes[0] for name, axes in found.items() if axes}


async def outcomes(one: Connected, axes: dict[str, Axis]) -> dict[str, Exception | list[Page]]:
    """Read each feed's newest span, and give what it ended in; a stream that says nothing is left out."""
    ends: dict[str, Exception | list[Page]] = {}
    for name, axis in axes.items():
        try:
            found = await one.pages(name, axis, one.spans(name)[-1])
        except Exception as error:  # noqa: BLE001 which error it is, is what is judged
            ends[name] = error
        else:
            if found or one.feed(name).every is not None:
                ends[name] = found
    return ends


def told(error: BaseException, logs: list[Any]) -> str:
    """Write everything about an error that may be shown: its text, its causes, the logs."""
    return "".join([*traceback.format_exception(error), repr(error), repr(vars(error)), repr(logs)])


async def test_a_lasting_fault_ends_in_its_error(faulty: Faulty) -> None:
    """Every feed ends in the error the fault stands for: no crash, no false success, no secret told."""
    site, what, one = faulty
    axes = await first_axes(one)
    with structlog.testing.capture_logs() as logs:
        await site.fault(what, ALWAYS)
        ends = await outcomes(one, axes)
    expected = site.faults[what].ends
    assert {name: end for name, end in ends.items() if not isinstance(end, expected)} == {}
    secrets = [*secrets_of(site.settings), *site.issued()]
    shown = [told(end, logs) for end in ends.values() if isinstance(end, SourceError)]
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []
    assert shown


async def test_a_passing_fault_loses_nothing(passing: Faulty, opened: Callable[..., Any]) -> None:
    """Where a fault passes, starting again at the last cursor brings all there is, as the core does it."""
    site, what, one = passing
    calm = await opened(site.kind.name)
    for name in (name for name, feed in site.kind.feeds().items() if feed.every is not None):
        reading = (await calm.once(name))[0]
        await site.fault(what, 1)
        cursor, found = None, list[Page]()
        for _ in range(4):
            try:
                found += await one.pages(name, reading.axis, reading.span, cursor)
                break
            except Retry:
                continue
        assert one.ids(name, found) == one.ids(name, reading.pages)
        await site.heal()


@pytest.mark.parametrize(
    "lost",
    [TimeoutError(), aiohttp.ServerDisconnectedError(), ConnectionResetError(), OSError(104, "reset")],
    ids=repr,
)  # fmt: skip
async def test_a_lost_connection_inside_an_sdk_is_waited_out(
    site_type: type[Site], opened: Callable[..., Any], lost: Exception
) -> None:
    """What an SDK raises when the line breaks becomes Retry, by the provider or by the core."""
    one = await opened(site_type.kind.name)
    api = next(iter(one.provider.apis()))
    with pytest.raises(Retry):
        await one.clock.drive(broken(one, api, lost))


async def broken(one: Connected, api: str, lost: Exception) -> None:
    """Make an SDK call that breaks."""
    async with one.client.paced(api, operation="broken"):
        raise lost


async def test_a_foreign_error_is_left_alone(site_type: type[Site], opened: Callable[..., Any]) -> None:
    """A mistake of ours is not taken for the provider's fault, and so is found."""
    one = await opened(site_type.kind.name)
    assert one.provider.raised(ZeroDivisionError("ours")) is None
