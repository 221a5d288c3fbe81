"""Topics and what lies on them: topics, tail, dead-letters, schemas."""

# ruff: noqa: PLC0415 a command imports what it needs when it runs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.terminal import FailedError, agreed, emit, go, note, say, table

if TYPE_CHECKING:
    from schemas.control import DeadLetter

topics = typer.Typer(help="The topics: list them, create them, check their settings.", no_args_is_help=True)
letters = typer.Typer(help="Records that could not be used: see them, try them again.", no_args_is_help=True)
schemas = typer.Typer(help="The published contracts of the topics.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids, or their beginnings.")]
All = Annotated[bool, typer.Option("--all", help="All of them (of --connector).")]
Of = Annotated[str, typer.Option("--connector", help="Only those of this connector.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@topics.command("list")
def list_topics(as_json: Json = False) -> None:
    """List the topics: what each carries, how it is keyed and kept.

    Example: sluice topics list
    """
    from ingest.config import load
    from schemas.topics import TOPICS

    config = load()
    rows = [
        {"topic": config.prefix + row.name, "role": row.role, "key": row.key, "doc": row.doc,
         "partitions": row.partitions(config.partitions), "classes": list(row.classes),
         "settings": dict(row.config)}
        for row in TOPICS.values()
    ]  # fmt: skip
    if as_json:
        emit(rows)
    else:
        table(("topic", "role", "key", "what"), ((r["topic"], r["role"], r["key"], r["doc"]) for r in rows))


@topics.command("create")
def create_topics(as_json: Json = False) -> None:
    """Create the topics that are missing; those that are there stay as they are.

    Example: SLUICE_PARTITIONS=64 sluice topics create
    """

    async def run() -> None:
        from ingest.cluster import Cluster
        from sluice.operate import settings

        cluster = Cluster(settings())
        made = await cluster.create_topics()
        await cluster.ready()
        if as_json:
            emit({"created": made})
        else:
            say(f"{len(made)} topics created" if made else "all topics are there")

    go(run())


@topics.command("grow")
def grow_topics(
    count: Annotated[int, typer.Argument(min=1, max=4096, help="Partitions to have afterwards.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give the owners' topics more partitions; connectors stay in theirs, new ones use the new.

    Restart all roles afterwards, one by one, before anything new is connected.

    Example: sluice topics grow 128
    """

    async def run() -> None:
        from ingest.cluster import Cluster
        from sluice.growing import grow, plan
        from sluice.operate import settings

        cluster = Cluster(settings())
        wanted = await plan(cluster, count)
        for name, had in wanted.items():
            note(f"{cluster.name(name)}: {had} -> {count}")
        if wanted and not agreed("Kafka can't take partitions away again. Go on?", yes=yes):
            return
        await grow(cluster, count)
        if as_json:
            emit({"partitions": count, "grown": [cluster.name(name) for name in wanted]})
        elif wanted:
            say(f"done: set SLUICE_PARTITIONS={count}, then restart all roles one by one")
        else:
            say("they have as many")

    go(run())


@topics.command("check")
def check_topics(as_json: Json = False) -> None:
    """Compare the topics' settings with what they should be.

    Example: sluice topics check
    """

    async def run() -> None:
        from ingest.cluster import Cluster
        from sluice.operate import settings

        cluster = Cluster(settings())
        await cluster.learn(verify=False)
        rows = [
            {"topic": cluster.name(topic), "setting": name, "wanted": wanted, "found": found}
            for topic, odd in (await cluster.drift()).items()
            for name, (wanted, found) in odd.items()
        ]
        if as_json:
            emit(rows)
        elif rows:
            table(("topic", "setting", "wanted", "found"), (tuple(row.values()) for row in rows))
        else:
            say("the topics are as meant")
        if rows:
            raise FailedError("settings differ: set them with kafka-configs.sh --alter, or know why not")

    go(run())


def tail(
    topic: Annotated[
        str, typer.Argument(help="With or without the prefix; `sluice topics list` lists them.")
    ],
    count: Annotated[
        int | None, typer.Option("-n", min=0, help="The last so many: 10, or all with --since.")
    ] = None,
    since: Annotated[str, typer.Option(help="From then on: 15m, 2h, 1d, or a time in ISO 8601.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Print a topic's last records, read-committed, as JSON lines: key, headers and value.

    Example: sluice tail findings -n 5
    """

    async def run() -> None:
        from ingest.cluster import Cluster
        from sluice.operate import now, settings
        from sluice.tail import checked_topic, since_ms
        from sluice.tail import tail as read

        config = settings()
        bare = checked_topic(topic, config.prefix)
        start = since_ms(since, now()) if since else None
        last = 10 if count is None and not since else count
        cluster = Cluster(config)
        await cluster.learn()
        async for record in read(cluster, bare, last, start, follow=follow):
            emit(record)

    go(run())


@letters.command("list")
def list_letters(of: Of = "", as_json: Json = False) -> None:
    """List the dead letters with the reason of each.

    Example: sluice dead-letters list --connector prod
    """

    async def run() -> None:
        found = await _found(of)
        if as_json:
            for one in found:
                emit(one.model_dump(mode="json", exclude={"raw"}))
        elif not found:
            note("no dead letters")
        else:
            table(
                ("id", "connector", "from", "reason", "detail", "attempts"),
                ((o.id, o.connector, o.feed or o.topic, o.reason, o.detail, o.attempts) for o in found),
            )

    go(run())


@letters.command("show")
def show_letter(identity: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Print one dead letter as JSON, its record included.

    Example: sluice dead-letters show 3f9a
    """

    async def run() -> None:
        from sluice.letters import chosen

        for one in chosen(await _found(""), [identity], everything=False):
            emit(one.model_dump(mode="json"))

    go(run())


@letters.command("retry")
def retry_letters(ids: Ids = None, everything: All = False, of: Of = "", as_json: Json = False) -> None:
    """Have records tried again, after the cause is mended; what works is a dead letter no more.

    Example: sluice dead-letters retry --all --connector prod
    """
    go(_send("retry", ids or (), of, everything=everything, as_json=as_json))


@letters.command("discard")
def discard_letters(
    ids: Ids = None, everything: All = False, of: Of = "", yes: Yes = False, as_json: Json = False
) -> None:
    """Take dead letters away for good.

    Example: sluice dead-letters discard 3f9a --yes
    """
    if agreed("Discard them for good?", yes=yes):
        go(_send("discard", ids or (), of, everything=everything, as_json=as_json))


async def _found(of: str) -> "list[DeadLetter]":
    from sluice.letters import letters
    from sluice.operate import Desk, settings

    return await letters(await Desk.open(settings()), of)


async def _send(what: str, ids: Sequence[str], of: str, *, everything: bool, as_json: bool) -> None:
    from sluice.letters import chosen, discard, letters, retry
    from sluice.operate import Desk, settings

    desk = await Desk.open(settings())
    these = chosen(await letters(desk, of), ids, everything=everything)
    count = await (retry if what == "retry" else discard)(desk, these)
    if as_json:
        emit({"asked": what, "letters": count})
    else:
        say(f"{count} handed to the owners of their connectors to {what}")
    if count < len(these):
        raise FailedError(f"{len(these) - count} can't be tried again")


@schemas.command("check")
def check_schemas(as_json: Json = False) -> None:
    """Check that the published JSON Schemas and the AsyncAPI document are what the code makes.

    Example: sluice schemas check
    """
    from schemas.publish import check

    stale = check()
    if as_json:
        emit({"stale": stale})
    if stale:
        raise FailedError(f"out of date: {', '.join(stale)}; write them with `python -m schemas.publish`")
    if not as_json:
        say("the published schemas are up to date")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    panel = "Topics"
    app.command(rich_help_panel=panel)(tail)
    app.add_typer(topics, name="topics", rich_help_panel=panel)
    app.add_typer(letters, name="dead-letters", rich_help_panel=panel)
    app.add_typer(schemas, name="schemas", rich_help_panel=panel)
