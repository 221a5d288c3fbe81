"""Run a simulated GitHub by itself: `python -m sandbox.github --users 200 --rate 2`.

Prints one line of JSON when it listens ({"url", "settings", "token", "ca"}), and acts until SIGTERM. Lines of
JSON on standard input are obeyed: {"do": "act", "kind": "join", "times": 3}, {"do": "order", "path":
"/orgs/acme/members", "faults": ["429"]}, {"do": "deliveries", "troubles": ["lost"]}, {"do": "advance",
"seconds": 60}, {"do": "truth"}, {"do": "report"}; each is answered by a line.
"""

import argparse
import asyncio
import json
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sandbox.github.answers import Json
from sandbox.github.driver import Driver
from sandbox.github.seed import connect, owner_token, seed
from sandbox.github.server import running
from sandbox.github.tenant import GitHubTenant


def obey(tenant: GitHubTenant, driver: Driver, line: str) -> Json:
    """Do what a line says and give the answer; an error is an answer too."""
    try:
        return _done(tenant, driver, json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _done(tenant: GitHubTenant, driver: Driver, told: Json) -> Json:
    match told.get("do"):
        case "act":
            times = range(int(told.get("times", 1)))
            answer: Json = {"done": [asdict(one) for _ in times for one in driver.step(told.get("kind"))]}
        case "order":
            tenant.order(told["path"], *told["faults"])
            answer = {"ordered": told["faults"]}
        case "deliveries":
            tenant.webhooks.order(*told["troubles"])
            answer = {"ordered": told["troubles"]}
        case "advance":
            tenant.clock.advance(float(told["seconds"]))
            answer = {"now": tenant.clock.now()}
        case "truth":
            answer = {"truth": [asdict(one) for one in tenant.truth]}
        case "report":
            limits = tenant.limits
            answer = {
                "requests": tenant.requests, "refused": limits.exceeded, "busiest": limits.busiest,
                "at_once": limits.most, "happened": len(tenant.truth),
            }  # fmt: skip
        case other:
            answer = {"error": f"do what? {other!r} is not act, order, deliveries, advance, truth or report"}
    return answer


def say(told: Json) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _listen(loop: asyncio.AbstractEventLoop, tenant: GitHubTenant, driver: Driver) -> None:
    for line in sys.stdin:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer, tenant, driver, line)


def _answer(tenant: GitHubTenant, driver: Driver, line: str) -> None:
    say(obey(tenant, driver, line))


async def serve(asked: argparse.Namespace) -> None:
    """Serve and act until SIGTERM or Ctrl-C."""
    tenant = seed(
        number=asked.seed, members=asked.users, repos=asked.repos, teams=asked.teams, events=asked.history
    )
    tls, ca = None, None
    if asked.ca is not None:
        from sandbox.authority import Authority  # noqa: PLC0415 only TLS needs the certificate maker

        authority = Authority()
        tls, ca = authority.server(), str(authority.write(asked.ca))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    driver = Driver(tenant, number=asked.seed, lag=asked.lag)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    async with running(tenant, tls):
        say({"url": tenant.url, "settings": connect(tenant), "token": owner_token(tenant), "ca": ca})
        threading.Thread(target=_listen, args=(loop, tenant, driver), daemon=True).start()
        acting = asyncio.create_task(driver.run(per_second=asked.rate)) if asked.rate > 0 else None
        await ended.wait()
        if acting is not None:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.github", description="A simulated GitHub.")
    parser.add_argument("--users", type=int, default=200, help="members of the organisation")
    parser.add_argument("--repos", type=int, default=500)
    parser.add_argument("--teams", type=int, default=12)
    parser.add_argument("--history", type=int, default=200, help="past events of the audit log")
    parser.add_argument("--rate", type=float, default=1.0, help="actions a second; 0: none")
    parser.add_argument("--lag", type=float, default=5.0, help="how late audit events may be (s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ca", type=Path, help="serve TLS, and write the CA's certificate here")
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
