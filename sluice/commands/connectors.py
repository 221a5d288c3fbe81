"""Connectors: connect, disable, enable, disconnect, apply, status, providers."""

# ruff: noqa: PLC0415 a command imports what it needs when it runs
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.terminal import (
    FailedError,
    WrongCallError,
    age,
    agreed,
    emit,
    go,
    interactive,
    note,
    say,
    table,
)

if TYPE_CHECKING:
    from ingest.credentials import Keyring
    from sluice.applying import Plan
    from sluice.connecting import Connected
    from sluice.operate import Outcome, View

Name = Annotated[str, typer.Argument(help="The connector's name, as given to `connect`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Don't wait until the connector's owner runs it so.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def connect(
    provider: Annotated[str, typer.Argument(help="Which app; `sluice providers` lists them.")],
    name: Annotated[str, typer.Argument(help="A name of your choice, a-z, 0-9, '.', '_' and '-'.")],
    file: Annotated[str, typer.Option("--settings", help="YAML or JSON; - reads stdin.")],
    component: Annotated[list[str] | None, typer.Option(help="Only this component; may be repeated.")] = None,
    consent: Annotated[bool, typer.Option("--consent", help="Have an admin consent again.")] = False,
    port: Annotated[int, typer.Option(help="This machine's port that the consent comes back to.")] = 0,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Connect an app: sign in, check what is granted, save the settings sealed, start.

    Secrets may stand in the file by reference: env:NAME or file:PATH. Called again with other settings it
    changes the connector. Where an app wants an admin's consent, the browser opens for it; without one
    here, open the address that is shown elsewhere and paste the one it ends at.

    Example: sluice connect aws prod --settings prod.yaml
    """
    go(
        _connect(
            provider, name, file, tuple(component or ()), consent=consent, port=port, wait=not no_wait,
            as_json=as_json,
        )
    )  # fmt: skip


async def _connect(
    provider: str,
    name: str,
    file: str,
    components: tuple[str, ...],
    *,
    consent: bool,
    port: int,
    wait: bool,
    as_json: bool,
) -> None:
    from sluice.connecting import Asked, admissible, built, folder_of, read_document, resolved, sign_in
    from sluice.consenting import consented
    from sluice.operate import OWNER_SECONDS, Desk, checked_name, settings

    checked_name(name)
    raw = resolved(read_document(file), folder_of(file))
    desk = await Desk.open(settings())
    made = built(desk.kind(provider), raw)
    asked = Asked(name=name, provider=provider, components=components)
    wishes = (await desk.view()).wishes
    admissible(desk, asked, wishes)
    have = None if consent else wishes.get(name)
    tokens = await consented(desk, asked, made, have, port=port, pasting=file != "-")
    if consent and tokens is None:
        raise WrongCallError(f"{provider} needs no consent with these settings: leave --consent away")
    connected = await sign_in(desk, asked, made, wishes, tokens)
    if not as_json:
        _granted(connected)
    outcome = await desk.store(connected.wish, OWNER_SECONDS if wait else 0)
    if tokens:
        note(f"the consent is stored and renewed from now on; see `sluice status {name}`")
    if as_json:
        grants = [one._asdict() for one in connected.grants]
        instance = {"id": connected.instance.id, "name": connected.instance.name}
        emit({**_outcome(outcome), "provider": provider, "instance": instance, "grants": grants})
    _tell(outcome, as_json=as_json)


def _granted(connected: "Connected") -> None:
    instance = connected.instance
    say(f"connected to {instance.id}{f' ({instance.name})' if instance.name else ''}")
    rows = [
        (one.capability, "missing" if one.missing else "granted", ", ".join(one.missing), one.note)
        for one in connected.grants
    ]
    if rows:
        table(("capability", "permission", "grant this", "note"), rows)


def disable(name: Name, no_wait: NoWait = False, as_json: Json = False) -> None:
    """Stop a connector at once and keep its details; `enable` goes on where it stopped.

    Example: sluice disable prod
    """
    go(_able(name, enabled=False, wait=not no_wait, as_json=as_json))


def enable(name: Name, no_wait: NoWait = False, as_json: Json = False) -> None:
    """Let a disabled connector go on at its cursor.

    Example: sluice enable prod
    """
    go(_able(name, enabled=True, wait=not no_wait, as_json=as_json))


async def _able(name: str, *, enabled: bool, wait: bool, as_json: bool) -> None:
    from sluice.operate import OWNER_SECONDS, Desk, settings

    desk = await Desk.open(settings())
    outcome = await desk.able(name, enabled=enabled, seconds=OWNER_SECONDS if wait else 0)
    if as_json:
        emit(_outcome(outcome))
    _tell(outcome, as_json=as_json)


def disconnect(
    name: Name,
    timeout: Annotated[float, typer.Option(help="Seconds the owner has to clean up.")] = 30.0,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove a connector: its registrations at the app, then everything that is known of it.

    Example: sluice disconnect prod --yes
    """
    if agreed(f"Remove {name} and what is known of it?", yes=yes):
        go(_disconnect(name, timeout, as_json=as_json))
    else:
        note("nothing was changed")


async def _disconnect(name: str, timeout: float, *, as_json: bool) -> None:  # noqa: ASYNC109 the option's name
    from sluice.operate import Desk, settings

    outcome = await (await Desk.open(settings())).disconnect(name, timeout)
    if as_json:
        emit(_outcome(outcome))
    if outcome.change == "unowned":
        note(f"accepted, but no owner has cleaned up yet: once `sluice run ingest` is up, "
             f"`sluice disconnect {name}` again completes it")  # fmt: skip
    elif not as_json:
        say(f"{name}: removed")


def _outcome(outcome: "Outcome") -> dict[str, Any]:
    status = outcome.status
    return {"name": outcome.name, "change": outcome.change, "state": status.state if status else None}


def _tell(outcome: "Outcome", *, as_json: bool) -> None:
    if outcome.change == "unowned":
        note(f"{outcome.name}: accepted, no owner running: start `sluice up` or `sluice run ingest`")
    elif not as_json:
        state = f", {outcome.status.state}" if outcome.status else ""
        why = f": {outcome.status.why}" if outcome.status and outcome.status.why else ""
        say(f"{outcome.name}: {outcome.change}{state}{why}")


def apply(
    file: Annotated[str, typer.Argument(help="YAML or JSON with connectors and policies; - reads stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the file does not name.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Bring connectors and policies in line with a file; the plan is shown first.

    What is as the file says is left alone. Secrets stand there by reference: env:NAME, file:PATH.

    Example: sluice apply tenants.yaml --dry-run
    """
    if not (dry_run or yes or interactive()):
        raise WrongCallError("nobody can be asked here: add --yes, or --dry-run to see the plan only")
    go(_apply(file, dry_run=dry_run, prune=prune, yes=yes, as_json=as_json))


async def _apply(file: str, *, dry_run: bool, prune: bool, yes: bool, as_json: bool) -> None:
    from ingest.errors import SourceError
    from sluice.applying import carry_out, parse, plan
    from sluice.connecting import folder_of, read_document
    from sluice.operate import Desk, settings

    sheet, policies = parse(read_document(file), folder_of(file))
    desk = await Desk.open(settings())
    made = await plan(desk, sheet, policies, prune=prune)
    _planned(made, as_json=as_json)
    if dry_run or not made.work or not agreed("Do this?", yes=yes):
        return
    failed = 0
    for one in made.work:
        try:
            outcome = await carry_out(desk, made, one)
        except (SourceError, FailedError) as error:
            failed += 1
            note(f"{one.kind} {one.name}: {error}")
            continue
        if as_json:
            emit({"kind": one.kind, **_outcome(outcome)})
        _tell(outcome, as_json=as_json)
    if failed:
        raise FailedError(f"{failed} of {len(made.work)} failed: mend them and apply again")


def _planned(made: "Plan", *, as_json: bool) -> None:
    for one in made.changes:
        if as_json:
            emit({"kind": one.kind, "name": one.name, "plan": one.verb})
        else:
            say(f"{one.verb:9} {one.kind} {one.name}")
    if not made.work:
        note("nothing to do")


def status(
    name: Annotated[str, typer.Argument(help="One connector; without it all.")] = "",
    wait: Annotated[str, typer.Option(help="Wait until it is so: running, disabled, degraded …")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 60.0,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show the secrets of hooks to register by hand.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show connectors as their owners report them, and what to fix.

    Example: sluice status prod --wait running
    """
    go(_status(name, wait, timeout, secrets=secrets, as_json=as_json))


async def _status(
    name: str,
    wait: str,
    timeout: float,  # noqa: ASYNC109 the option's name
    *,
    secrets: bool,
    as_json: bool,
) -> None:
    from sluice.operate import Desk, View, settings

    desk = await Desk.open(settings())
    partitions = [(await desk.wish(name)).partition] if name else None
    view = View(desk.cluster, partitions)
    if wait:
        async with view:
            reached = await view.until(lambda: _reached(view, name, wait), timeout)
    else:
        await view.read()
        reached = True
    names = [one for one in sorted(view.wishes) if name in ("", one)]
    rows = [describe(view, one, desk.keyring if secrets else None) for one in names]
    if as_json:
        emit(rows[0] if name and rows else rows)
    else:
        _show(rows, whole=bool(name))
    if not reached:
        raise FailedError(f"not {wait} within {timeout:g} s")


def _reached(view: "View", name: str, state: str) -> bool:
    names = [name] if name else list(view.wishes)
    if state == "removed":
        return all(one not in view.wishes for one in names)
    return all((s := view.status(one)) and s.state == state and s.revision == view.wishes[one].revision
               for one in names if one in view.wishes) and bool(view.wishes)  # fmt: skip


def describe(view: "View", name: str, keyring: "Keyring | None" = None) -> dict[str, Any]:
    """Put together what is wished and what is reported of a connector; with a keyring also secrets."""
    from ingest.catalog import providers
    from sluice.status import registration, unreachable

    wish, told = view.wishes[name], view.status(name)
    kind, owner = providers().get(wish.provider), f"{wish.name}/{wish.incarnation}"
    registrations = [registration(one, keyring, owner) for one in view.registrations(name)]
    return {
        "name": name, "provider": wish.provider, "enabled": wish.enabled, "removing": wish.removing,
        "state": told.state if told else "unowned", "why": told.why if told else "no owner has reported",
        "instance": wish.instance, "instance_name": wish.instance_name,
        "revision": wish.revision, "applied": bool(told and told.revision == wish.revision),
        "owner": told.owner if told else "", "at": told.at if told else 0,
        "address": next((one["address"] for one in registrations if one.get("address")), ""),
        "registrations": registrations, "push": unreachable(kind, registrations) if wish.enabled else "",
        "missing": {one: list(what) for one, what in told.grants.items() if what} if told else {},
        "feeds": {feed: one.model_dump() for feed, one in told.feeds.items()} if told else {},
        "subscriptions": dict(told.subscriptions) if told else {},
    }  # fmt: skip


def _show(rows: list[dict[str, Any]], *, whole: bool) -> None:
    from sluice.operate import now
    from sluice.status import show as registrations

    if not rows:
        note("no connectors yet: make one with `sluice connect`")
        return
    moment = now()
    table(
        ("name", "provider", "state", "instance", "reported", "what to fix"),
        ((one["name"], one["provider"], one["state"] + ("" if one["applied"] else " (change pending)"),
          one["instance"], age(one["at"], moment), one["why"]) for one in rows),
    )  # fmt: skip
    if whole:
        feeds = rows[0]["feeds"].items()
        table(
            ("feed", "state", "axes", "published", "last success", "last event", "why"),
            ((feed, one["state"], one["axes"], one["published"], age(one["last_success"], moment),
              age(one["last_event"], moment), one["why"]) for feed, one in feeds),
        )  # fmt: skip
        for capability, what in rows[0]["missing"].items():
            say(f"{capability}: grant {', '.join(what)}")
        if rows[0]["registrations"]:
            registrations(rows[0]["registrations"], moment)
        if rows[0]["push"]:
            say(rows[0]["push"])


def providers(as_json: Json = False) -> None:
    """List the apps that can be connected, and what is covered of each.

    Example: sluice providers --json
    """
    from ingest import catalog

    rows = catalog.table()
    if as_json:
        emit(rows)
        return
    # The table has the first word; "partly: why" in full is in the JSON.
    words = [
        [row["capabilities"].get(one, "-").partition(":")[0] for one in catalog.CAPABILITIES] for row in rows
    ]
    table(
        ("provider", "title", *catalog.CAPABILITIES),
        ((row["provider"], row["title"], *its) for row, its in zip(rows, words, strict=True)),
    )


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (connect, disable, enable, disconnect, apply, status, providers):
        app.command(rich_help_panel="Connectors")(command)
