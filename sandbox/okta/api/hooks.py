"""Event hooks."""

from typing import Any, TypeAlias

from aiohttp import web

from sandbox.okta.call import Call, Route, empty
from sandbox.okta.errors import invalid
from sandbox.okta.hooks import Hook
from sandbox.okta.records import thing

Json: TypeAlias = Any


def shown(call: Call, hook: Hook) -> Json:
    """A hook with its links; the header's value is not among what is shown."""
    here = f"/api/v1/eventHooks/{hook.shown['id']}"
    verbs = ["verify", "deactivate" if hook.shown["status"] == "ACTIVE" else "activate"]
    links = {"self": call.href(here)}
    links |= {verb: {**call.href(f"{here}/lifecycle/{verb}"), "hints": {"allow": ["POST"]}} for verb in verbs}
    return {**hook.shown, "_links": links}


def _noted(call: Call, kind: str, hook: Hook) -> web.Response:
    target = thing("EventHook", hook.shown["id"], hook.shown["name"])
    call.note(f"event_hook.{kind}", [target])
    if hook.secret:
        call.tenant.secrets.add(hook.secret)
    return web.json_response(shown(call, hook))


async def listing(call: Call) -> web.Response:
    """All hooks."""
    call.only()
    return web.json_response([shown(call, hook) for hook in call.tenant.hooks.all.values()])


async def create(call: Call) -> web.Response:
    """Register one: ACTIVE, UNVERIFIED."""
    return _noted(call, "created", call.tenant.hooks.create(call.body, call.who.id))


async def one(call: Call) -> web.Response:
    """One hook."""
    return web.json_response(shown(call, call.tenant.hooks.get(call.part("hook"))))


async def replace(call: Call) -> web.Response:
    """Change one."""
    return _noted(call, "updated", call.tenant.hooks.replace(call.part("hook"), call.body))


async def delete(call: Call) -> web.Response:
    """Remove an inactive one."""
    _noted(call, "deleted", call.tenant.hooks.delete(call.part("hook")))
    return empty()


async def verify(call: Call) -> web.Response:
    """Challenge the address; 400 when the answer is not the value that was sent."""
    hooks = call.tenant.hooks
    hook = hooks.get(call.part("hook"))
    if not await call.tenant.deliveries.verify(hook):
        raise invalid(
            "eventHook", "The event hook could not be verified: the endpoint did not return the challenge"
        )
    hooks.verified(hook)
    return _noted(call, "verified", hook)


async def switch(call: Call) -> web.Response:
    """Activate or deactivate."""
    on = call.part("verb") == "activate"
    hook = call.tenant.hooks.switch(call.part("hook"), "ACTIVE" if on else "INACTIVE")
    return _noted(call, "activated" if on else "deactivated", hook)


_SCOPE, _ALL, _ONE = "okta.eventHooks.manage", "/api/v1/eventHooks", "/api/v1/eventHooks/{hook}"
ROUTES = (
    Route("GET", _ALL, listing, "okta.eventHooks.read", _ALL),
    Route("POST", _ALL, create, _SCOPE, _ALL),
    Route("GET", _ONE, one, "okta.eventHooks.read", _ALL),
    Route("PUT", _ONE, replace, _SCOPE, _ALL),
    Route("DELETE", _ONE, delete, _SCOPE, _ALL),
    Route("POST", f"{_ONE}/lifecycle/verify", verify, _SCOPE, _ALL),
    Route("POST", f"{_ONE}/lifecycle/{{verb:activate|deactivate}}", switch, _SCOPE, _ALL),
)
