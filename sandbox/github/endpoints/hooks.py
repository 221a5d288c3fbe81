"""Webhooks of the organisation and of the App: registration, ping, deliveries, redelivery."""

from urllib.parse import urlsplit

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused, invalid, missing
from sandbox.github.call import PAGES, Call, route
from sandbox.github.paging import cursor, cursor_link, paged, position
from sandbox.github.tenant import GitHubTenant
from sandbox.github.webhooks import EVENTS, Delivery, Hook

READ, WRITE, SCOPE = "organization_hooks=read", "organization_hooks=write", ("admin:org_hook",)
ZEN = "Responsive is better than fast."
PER_EVENT = 20


@route("GET", "/orgs/{org}/hooks", permission=READ, scopes=SCOPE, hidden=True, query=PAGES)
def list_hooks(tenant: GitHubTenant, call: Call) -> Answer:
    """The organisation's registrations."""
    return paged(call, _all(tenant), lambda one: _shape(tenant, call.base, one))


@route("POST", "/orgs/{org}/hooks", permission=WRITE, scopes=SCOPE, hidden=True)
def create(tenant: GitHubTenant, call: Call) -> Answer:
    """Register; a ping follows."""
    asked = call.given()
    if asked.get("name") != "web":
        raise invalid("Hook", "name")
    config = asked.get("config")
    if not isinstance(config, dict) or not config.get("url"):
        raise invalid("Hook", "url", "missing_field")
    hook = Hook(0, "Organization", "", tenant.clock.now(), [])
    _configure(hook, config)
    hook.events = _events(asked.get("events", ["push"]))
    hook.active, hook.updated = bool(asked.get("active", True)), hook.created
    for one in _all(tenant):
        if one.url == hook.url and one.events == hook.events and one.content_type == hook.content_type:
            raise Refused(422, "Validation Failed", errors=[_double()])
    if any(sum(event in one.events for one in _all(tenant)) >= PER_EVENT for event in hook.events):
        text = f'The "{hook.events[0]}" event cannot have more than {PER_EVENT} hooks'
        raise invalid("Hook", "events", "custom", text)
    tenant.webhooks.add(hook)
    tenant.happen("hook.create", call.caller.login, operation="create", **_logged(hook))
    if hook.active:
        _ping(tenant, hook, call.base, call.caller.login)
    return Answer(_shape(tenant, call.base, hook), 201)


@route("GET", "/orgs/{org}/hooks/{hook_id}", permission=READ, scopes=SCOPE, hidden=True)
def show(tenant: GitHubTenant, call: Call) -> Answer:
    """One registration."""
    return Answer(_shape(tenant, call.base, _hook(tenant, call)))


@route("PATCH", "/orgs/{org}/hooks/{hook_id}", permission=WRITE, scopes=SCOPE, hidden=True)
def change(tenant: GitHubTenant, call: Call) -> Answer:
    """Change a registration; a configuration without a secret removes the secret."""
    hook, asked = _hook(tenant, call), call.given()
    if "config" in asked:
        config = asked["config"]
        if not isinstance(config, dict) or not config.get("url"):
            raise invalid("Hook", "url", "missing_field")
        hook.secret = ""
        _configure(hook, config)
        tenant.happen("hook.config_changed", call.caller.login, **_logged(hook))
    if "events" in asked:
        before, hook.events = hook.events, _events(asked["events"])
        tenant.happen("hook.events_changed", call.caller.login, events_were=before, **_logged(hook))
    if "active" in asked:
        hook.active = bool(asked["active"])
        tenant.happen("hook.active_changed", call.caller.login, **_logged(hook))
    hook.updated = tenant.clock.now()
    return Answer(_shape(tenant, call.base, hook))


@route("DELETE", "/orgs/{org}/hooks/{hook_id}", permission=WRITE, scopes=SCOPE, hidden=True)
def delete(tenant: GitHubTenant, call: Call) -> Answer:
    """Remove a registration; it hears of it once if it listens to meta."""
    remove(tenant, _hook(tenant, call), call.caller.login)
    return Answer(status=204)


def remove(tenant: GitHubTenant, hook: Hook, actor: str) -> None:
    """Remove a registration, as its owner does it in the settings."""
    base, org = tenant.url, tenant.org
    del tenant.webhooks.hooks[hook.id]
    tenant.happen("hook.destroy", actor, operation="remove", **_logged(hook))
    if hook.active and {"*", "meta"} & set(hook.events):
        shown = _shape(tenant, base, hook)
        payload = {"action": "deleted", "hook_id": hook.id, "hook": shown}
        payload |= {
            "organization": shapes.organization(base, org),
            "sender": shapes.user(base, tenant.actor(actor)),
        }
        tenant.webhooks.emit(hook, "meta", payload, org.id)


@route("GET", "/orgs/{org}/hooks/{hook_id}/config", permission=READ, scopes=SCOPE, hidden=True)
def show_config(tenant: GitHubTenant, call: Call) -> Answer:
    """The configuration alone."""
    return Answer(_hook(tenant, call).config())


@route("PATCH", "/orgs/{org}/hooks/{hook_id}/config", permission=WRITE, scopes=SCOPE, hidden=True)
def change_config(tenant: GitHubTenant, call: Call) -> Answer:
    """Change what is given of the configuration and keep the rest: how a secret is rotated."""
    hook = _hook(tenant, call)
    _configure(hook, call.given())
    hook.updated = tenant.clock.now()
    tenant.happen("hook.config_changed", call.caller.login, **_logged(hook))
    return Answer(hook.config())


@route("POST", "/orgs/{org}/hooks/{hook_id}/pings", permission=WRITE, scopes=SCOPE, hidden=True)
def ping(tenant: GitHubTenant, call: Call) -> Answer:
    """Send a ping."""
    _ping(tenant, _hook(tenant, call), call.base, call.caller.login)
    return Answer(status=204)


@route("GET", "/app/hook/config", only=("app",))
def app_config(tenant: GitHubTenant, call: Call) -> Answer:
    """The configuration of the App's one webhook."""
    del call
    return Answer(tenant.app_hook.config())


@route("PATCH", "/app/hook/config", only=("app",))
def change_app_config(tenant: GitHubTenant, call: Call) -> Answer:
    """Change it."""
    _configure(tenant.app_hook, call.given())
    tenant.app_hook.active = bool(tenant.app_hook.url)
    return Answer(tenant.app_hook.config())


_DELIVERIES = ("per_page", "cursor", "status")


@route(
    "GET",
    "/orgs/{org}/hooks/{hook_id}/deliveries",
    permission=READ,
    scopes=SCOPE,
    hidden=True,
    query=_DELIVERIES,
)
def list_deliveries(tenant: GitHubTenant, call: Call) -> Answer:
    """Deliveries of three days, newest first."""
    return _deliveries(tenant, call, _hook(tenant, call))


@route("GET", "/app/hook/deliveries", only=("app",), query=_DELIVERIES)
def list_app_deliveries(tenant: GitHubTenant, call: Call) -> Answer:
    """The same of the App's webhook."""
    return _deliveries(tenant, call, tenant.app_hook)


@route(
    "GET", "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}", permission=READ, scopes=SCOPE, hidden=True
)
def show_delivery(tenant: GitHubTenant, call: Call) -> Answer:
    """A delivery with all that was sent and answered."""
    return Answer(_detail(_delivery(tenant, call, _hook(tenant, call))))


@route("GET", "/app/hook/deliveries/{delivery_id}", only=("app",))
def show_app_delivery(tenant: GitHubTenant, call: Call) -> Answer:
    """The same of the App's webhook."""
    return Answer(_detail(_delivery(tenant, call, tenant.app_hook)))


@route(
    "POST",
    "/orgs/{org}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
    permission=WRITE,
    scopes=SCOPE,
    hidden=True,
)
def redeliver(tenant: GitHubTenant, call: Call) -> Answer:
    """Send a delivery again."""
    hook = _hook(tenant, call)
    tenant.webhooks.again(hook, _delivery(tenant, call, hook))
    return Answer({}, 202)


@route("POST", "/app/hook/deliveries/{delivery_id}/attempts", only=("app",))
def redeliver_app(tenant: GitHubTenant, call: Call) -> Answer:
    """The same of the App's webhook."""
    tenant.webhooks.again(tenant.app_hook, _delivery(tenant, call, tenant.app_hook))
    return Answer({}, 202)


def _deliveries(tenant: GitHubTenant, call: Call, hook: Hook) -> Answer:
    """`status=failure` has only what was answered with 400 to 599: a failed connection is in neither."""
    wanted = call.choice("status", "", ("", "success", "failure"))
    chosen = [
        one
        for one in tenant.webhooks.recent(hook.id)
        if not wanted or (200 <= one.code < 400 if wanted == "success" else 400 <= one.code < 600)
    ]
    if given := call.query.get("cursor"):
        (start, *_) = position(given)
        if not start.isdecimal():
            raise Refused(422, "Invalid cursor.")
        chosen = [one for one in chosen if one.id < int(start)]
    shown, rest = chosen[: call.size], chosen[call.size :]
    link = cursor_link(call, {"next": ("cursor", cursor(str(shown[-1].id)))}) if rest else ""
    return Answer([_item(one) for one in shown], headers={"Link": link} if link else {})


def _item(one: Delivery) -> Json:
    return {
        "id": one.id,
        "guid": one.guid,
        "delivered_at": shapes.moment(one.at),
        "redelivery": one.redelivery,
        "duration": one.duration,
        "status": one.status,
        "status_code": one.code,
        "event": one.event,
        "action": one.action,
        "installation_id": one.payload.get("installation", {}).get("id"),
        "repository_id": one.payload.get("repository", {}).get("id"),
        "throttled_at": None,
    }


def _detail(one: Delivery) -> Json:
    return {
        **_item(one),
        "url": one.url,
        "request": {"headers": one.headers, "payload": one.payload},
        "response": {"headers": one.answered[0], "payload": one.answered[1]},
    }


def _delivery(tenant: GitHubTenant, call: Call, hook: Hook) -> Delivery:
    one = tenant.webhooks.deliveries[hook.id].get(int(call.params["delivery_id"]))
    if one is None or one not in tenant.webhooks.recent(hook.id):
        raise missing()
    return one


def _ping(tenant: GitHubTenant, hook: Hook, base: str, actor: str) -> None:
    payload = {
        "zen": ZEN,
        "hook_id": hook.id,
        "hook": _shape(tenant, base, hook),
        "organization": shapes.organization(base, tenant.org),
        "sender": shapes.user(base, tenant.actor(actor)),
    }
    tenant.webhooks.emit(hook, "ping", payload, tenant.org.id)


def _configure(hook: Hook, config: Json) -> None:
    """Take in what is given; a URL must be http or https, the content type json or form."""
    url = config.get("url", hook.url)
    if (
        not isinstance(url, str)
        or urlsplit(url).scheme not in {"http", "https"}
        or not urlsplit(url).hostname
    ):
        raise invalid("Hook", "url", "custom", "URL is not valid")
    media, insecure = (
        config.get("content_type", hook.content_type),
        str(config.get("insecure_ssl", hook.insecure)),
    )
    if media not in ("json", "form"):
        raise invalid("Hook", "content_type")
    if insecure not in {"0", "1"}:
        raise invalid("Hook", "insecure_ssl")
    hook.url, hook.content_type, hook.insecure = url, media, insecure
    if "secret" in config:
        hook.secret = str(config["secret"] or "")


def _events(asked: Json) -> list[str]:
    if not isinstance(asked, list) or not asked or not all(isinstance(one, str) for one in asked):
        raise invalid("Hook", "events")
    if strange := set(asked) - EVENTS - {"*"}:
        raise invalid("Hook", "events", "custom", f"{min(strange)} is not a valid event")
    return sorted(set(asked))


def _all(tenant: GitHubTenant) -> list[Hook]:
    return [one for one in tenant.webhooks.hooks.values() if one.kind == "Organization"]


def _hook(tenant: GitHubTenant, call: Call) -> Hook:
    hook = tenant.webhooks.hooks.get(int(call.params["hook_id"]))
    if hook is None or hook.kind != "Organization":
        raise missing()
    return hook


def _shape(tenant: GitHubTenant, base: str, hook: Hook) -> Json:
    url = f"{base}/orgs/{tenant.org.login}/hooks/{hook.id}"
    return {
        "type": "Organization",
        "id": hook.id,
        "name": "web",
        "active": hook.active,
        "events": hook.events,
        "config": hook.config(),
        "created_at": shapes.moment(hook.created),
        "updated_at": shapes.moment(hook.updated or hook.created),
        "url": url,
        "ping_url": f"{url}/pings",
        "deliveries_url": f"{url}/deliveries",
    }


def _logged(hook: Hook) -> Json:
    return {"hook_id": hook.id, "events": hook.events, "name": "web", "active": hook.active}


def _double() -> Json:
    return {"resource": "Hook", "code": "custom", "message": "Hook already exists on this organization"}
