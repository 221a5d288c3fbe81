"""Amazon Web Services: people and grants of IAM, CloudTrail, S3's files; one account or an organization."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from functools import cached_property

from ingest.provider import Api, At, Axis, Event, Instance, Limit, NotAllowed, Page, Provider, Signed, feed
from ingest.providers.aws import accounts, files
from ingest.providers.aws.accounts import place_axes
from ingest.providers.aws.actions import ACTIONS
from ingest.providers.aws.buckets import Known
from ingest.providers.aws.errors import translate
from ingest.providers.aws.events import trail_record
from ingest.providers.aws.notifications import BucketNotifications
from ingest.providers.aws.probe import read_grants
from ingest.providers.aws.session import SESSION, Sessions, Settings
from ingest.providers.aws.trail import read_history, read_queue, stranger

LIMITS: Mapping[str, Mapping[str, Limit]] = {
    # 2 a second per account and region, shared with every other tool there; it can't be raised.
    "cloudtrail": {"calls": Limit(2, scope="axis")},
    # IAM publishes no rate; this is half of what is known to be throttled.
    "iam": {"calls": Limit(5, scope="axis")},
    "sts": {"calls": Limit(10)},
    "organizations": {"calls": Limit(2)},
    "sso-admin": {"calls": Limit(5)},
    "identitystore": {"calls": Limit(10)},
    # Far below 5,500 reads a second and prefix: the customer's own programs come first.
    "s3": {"calls": Limit(1000, at_once=48)},
    "s3control": {"calls": Limit(5)},
    "sqs": {"calls": Limit(100)},
}


async def queue_axis(p: "Aws") -> AsyncIterator[Axis]:
    """Follow the queue if there is one."""
    if p.settings.queue_url:
        yield Axis()


class Aws(Provider[Settings]):
    """AWS: accounts, sign-ins and admin activity, S3's files and who can see them."""

    name = "aws"
    title = "Amazon Web Services"
    vendor = "Amazon"
    settings_type = Settings
    account_type_id = 10
    has_content = True
    actions = ACTIONS
    subscriptions = (BucketNotifications(),)

    content = files.open_content
    probe = read_grants

    @cached_property
    def sessions(self) -> Sessions:
        """The signed calls, which connect when they are first used."""
        return Sessions(self.settings, self.http, self.instance.id)

    @cached_property
    def known(self) -> Known:
        """What was learnt of the buckets."""
        return Known()

    def apis(self) -> Mapping[str, Api]:
        """Name the services; the SDK knows their addresses and signs."""
        return {
            name: Api(self.settings.endpoint(name) or f"https://{name}.amazonaws.com", Signed(), limits)
            for name, limits in LIMITS.items()
        }

    async def identify(self) -> Instance:
        """Ask STS, which needs no permission; the account's alias is its name."""
        me = await self.sessions.call("sts", "get_caller_identity")
        self.sessions.own = me["Account"]
        try:
            aliases = (await self.sessions.call("iam", "list_account_aliases"))["AccountAliases"]
        except NotAllowed:
            aliases = []
        # CloudTrail shows the ARN and the id, S3's events the id behind "AWS:".
        ourselves = frozenset({me["Arn"], me["UserId"], f"AWS:{me['UserId']}"})
        return Instance(me["Account"], aliases[0] if aliases else "", ourselves)

    def raised(self, error: Exception) -> Exception | None:
        """Translate the SDK's errors, by their code."""
        return translate(error)

    def ours(self, event: Event) -> bool:
        """Tell our echoes, also those of our sessions in member accounts."""
        user = (event.get("actor") or {}).get("user") or {}
        role = self.settings.member_role.rpartition("/")[2]
        member = bool(role) and str(user.get("uid_alt")).endswith(f":assumed-role/{role}/{SESSION}")
        return member or super().ours(event)

    async def close(self) -> None:
        """Close the SDK's connections."""
        await self.sessions.close()

    accounts, groups, privileges = accounts.accounts, accounts.groups, accounts.privileges

    @feed(
        "logons", "admin_activity", to=trail_record, every=timedelta(seconds=30), per=place_axes,
        late=timedelta(minutes=20), widest=timedelta(hours=1), newest_first=True,
        lookback=timedelta(days=1),
    )  # fmt: skip
    async def lookup(self, at: At) -> AsyncIterator[Page]:
        """Read the event history: 90 days of management events, newest first, up to 20 minutes late."""
        async for page in read_history(self, at):
            yield page

    @feed(
        "logons", "admin_activity", "dlp_realtime",
        to={"trail": trail_record, "s3": files.object_changed, "stranger": stranger},
        every=None, per=queue_axis, repeats=timedelta(hours=24), silence=timedelta(minutes=5),
    )  # fmt: skip
    async def trail(self, at: At) -> AsyncIterator[Page]:
        """Follow the queue: the trail's files, about 5 minutes late, and S3's changes within seconds."""
        async for page in read_queue(self, at):
            yield page

    buckets, objects = files.buckets, files.objects
