"""A local API that everybody can read: an Okta org's System Log with pages of 1,000 events of 1.5 KB.

Each page names the next in `Link`, as Okta does, also the empty one at the end. Pages differ in their ids and
times alone, so that all cost the same. ``python logapi.py N`` serves N pages: prints its port, ends with its
standard input.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import orjson
from aiohttp import web

from sandbox.okta.records import Records, person, thing

PAGE: Final = 1000
_MARK: Final = b"f17e0000"
"""Stands at the start of every id; each page has its own number there."""
_DAY: Final = b"2001-01-01T00:00"
"""Stands for the minute of every event; each page is a minute after the one before."""


def template() -> bytes:
    """Make the JSON of a page of sign-ins and changes."""
    chance, found = Random(20261122), []
    made = Records(chance)
    people = [
        {
            "id": f"00u{n:017}",
            "profile": {"login": f"p{n}@acme.example", "firstName": "Ada", "lastName": f"L{n}"},
        }
        for n in range(200)
    ]
    for number in range(PAGE):
        who = person(chance.choice(people))
        app = thing("AppInstance", f"0oa{chance.randrange(50):017}", "Payroll", "Payroll")
        kind = chance.choice(
            ("user.authentication.sso", "user.session.start", "user.account.update_password")
        )
        targets = (app,) if kind.endswith("sso") else (who,)
        record = made.make(kind, 978307200.0, actor=who, targets=targets)
        record["published"] = f"{_DAY.decode()}:{number * 59 // PAGE:02}.{number:03}Z"
        record["uuid"] = _MARK.decode() + record["uuid"][8:]
        found.append(record)
    return orjson.dumps(found)


def app(text: bytes, pages: int) -> web.Application:
    """Serve a log."""
    began = datetime.now(UTC) - timedelta(days=30)

    async def logs(request: web.Request) -> web.Response:
        number = int(request.query.get("after", "0"))
        minute = (began + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M").encode()
        body = text.replace(_MARK, b"%08x" % number).replace(_DAY, minute) if number < pages else b"[]"
        here = f"{request.url.origin()}{request.path}"
        onward = f"{here}?after={min(number + 1, pages)}&limit={PAGE}"
        links = f'<{here}?after={number}&limit={PAGE}>; rel="self", <{onward}>; rel="next"'
        return web.Response(body=body, content_type="application/json", headers={"Link": links})

    made = web.Application()
    made.router.add_get("/api/v1/logs", logs)
    return made


async def serve() -> None:
    """Serve until standard input ends."""
    runner = web.AppRunner(app(template(), int(sys.argv[1])), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
