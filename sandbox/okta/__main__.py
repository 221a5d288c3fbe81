"""Run a simulated org by itself: `python -m sandbox.okta --users 200 --rate 2`.

Prints one line of JSON when it listens ({"url", "settings", "ca"}), and acts until SIGTERM. Lines of JSON on
standard input are obeyed: {"do": "act", "kind": "logon"}, {"do": "order", "path": "/api/v1/logs",
"faults": ["429"]}, {"do": "report"}; each is answered by a line.
"""

import argparse
import asyncio
import json
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from sandbox.okta.driver import Driver
from sandbox.okta.seed import seed_history
from sandbox.okta.server import running
from sandbox.okta.tenant import OktaTenant

Json: TypeAlias = Any


def _asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.okta", description="A simulated Okta org.")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--groups", type=int, default=0, help="0: by the number of users")
    parser.add_argument("--rate", type=float, default=1.0, help="actions a second; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--history", type=int, default=500, help="past events")
    parser.add_argument("--days", type=float, default=30.0, help="days that they are spread over")
    parser.add_argument("--late", type=float, default=20.0, help="how late a tenth of the events may be (s)")
    parser.add_argument("--index-lag", type=float, default=2.0, help="how far user search is behind (s)")
    parser.add_argument("--oauth", action="store_true", help="settings of a service app, not an API token")
    parser.add_argument("--dpop", action="store_true", help="the same, with DPoP")
    parser.add_argument("--ca", type=Path, help="serve TLS, and write the CA's certificate here")
    return parser.parse_args(arguments)


def obey(tenant: OktaTenant, driver: Driver, line: str) -> Json:
    """Do what a line says and give the answer; an error is an answer too."""
    try:
        told = json.loads(line)
        match told.get("do"):
            case "act":
                return driver.step(told.get("kind"))._asdict()
            case "order":
                tenant.order(told["path"], *told["faults"], method=told.get("method", ""))
                return {"ordered": told["faults"]}
            case "report":
                limits = tenant.limits
                return {
                    "requests": limits.requests, "refused": limits.refused, "busiest": limits.busiest,
                    "at_once": limits.busiest_at_once, "happened": len(tenant.truth),
                }  # fmt: skip
            case other:
                return {"error": f"do what? {other!r} is not act, order or report"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def say(told: Json) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _listen(loop: asyncio.AbstractEventLoop, tenant: OktaTenant, driver: Driver) -> None:
    for line in sys.stdin:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda line=line: say(obey(tenant, driver, line)))  # type: ignore[misc]


async def serve(asked: argparse.Namespace) -> None:
    """Serve and act until SIGTERM or Ctrl-C."""
    tenant = OktaTenant(
        users=asked.users, groups=asked.groups, seed=asked.seed, index_lag=asked.index_lag,
        late=(0.1, asked.late) if asked.late > 0 else (0.0, 0.0),
    )  # fmt: skip
    seed_history(tenant, asked.history, days=asked.days, number=asked.seed)
    tls, ca = None, None
    if asked.ca is not None:
        from sandbox.authority import Authority  # noqa: PLC0415 only TLS needs the certificate maker

        authority = Authority()
        tls, ca = authority.server(), str(authority.write(asked.ca))
    loop, ended, driver = asyncio.get_running_loop(), asyncio.Event(), Driver(tenant, number=asked.seed)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    async with running(tenant, tls):
        settings = tenant.settings(oauth=asked.oauth, dpop=asked.dpop)
        say({"url": tenant.url, "settings": settings, "ca": ca})
        threading.Thread(target=_listen, args=(loop, tenant, driver), daemon=True).start()
        acting = asyncio.create_task(driver.run(per_second=asked.rate)) if asked.rate > 0 else None
        await ended.wait()
        if acting is not None:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    asyncio.run(serve(_asked(arguments)))


if __name__ == "__main__":
    main()
