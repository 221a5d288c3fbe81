"""GitHub: an organization's people, teams, grants, apps and audit log; Enterprise Cloud and Server."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import timedelta

from ingest.provider import (
    Api,
    At,
    Delivery,
    Event,
    Feed,
    Grant,
    Hooked,
    Http,
    Instance,
    Missing,
    NotAllowed,
    Page,
    Provider,
    Refused,
    Reply,
    feed,
    hook,
)
from ingest.providers.github import calls, inventory, reads
from ingest.providers.github.actions import ACTIONS
from ingest.providers.github.events import audit_record
from ingest.providers.github.hooks import OrganizationHook, read_failed, told
from ingest.providers.github.probe import read_grants
from ingest.providers.github.settings import Settings, apis
from ingest.providers.github.webhooks import webhook_record
from ingest.signatures import Hmac


class GitHub(Provider[Settings]):
    """GitHub: accounts, teams, privileges, apps and tokens, audit log and webhooks, governance."""

    name = "github"
    title = "GitHub"
    vendor = "GitHub"
    settings_type = Settings
    account_type = "GitHub organization"
    actions = ACTIONS
    subscriptions = (OrganizationHook(),)

    def __init__(
        self,
        settings: Settings,
        http: Http,
        instance: Instance,
        elsewhere: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Take an audit log for granted until the sign-in, or a setting, says otherwise."""
        super().__init__(settings, http, instance, elsewhere)
        self.audited = settings.audit_log is not False

    def apis(self) -> Mapping[str, Api]:
        """REST and GraphQL and, for an App, its own corner of REST."""
        return apis(self.settings)

    async def identify(self) -> Instance:
        """Ask for the organization's number, who we are, and whether there is an audit log to read."""
        org = (await calls.get(self, f"/orgs/{self.settings.organization}")).json
        if self.settings.as_app:
            me = (await calls.get(self, "/app", api="app")).json
            ourselves = {f"{me['slug']}[bot]"}
        else:
            me = (await calls.get(self, "/user")).json
            ourselves = {str(me["id"]), me["login"]}
        await self.look_for_log()
        return Instance(str(org["id"]), org["login"], frozenset(ourselves))

    async def look_for_log(self) -> str:
        """Try the audit log, unless a setting says whether there is one; say what is missing."""
        try:
            await calls.get(self, self.settings.log, per_page=1)
        except (NotAllowed, Missing, Refused) as error:
            lack = str(error)
        else:
            lack = ""
        self.audited = self.settings.audit_log if self.settings.audit_log is not None else not lack
        return lack

    def probe(self) -> AsyncIterator[Grant]:
        """Try each capability; a missing permission or scope is named as GitHub names it."""
        return read_grants(self)

    def lookback(self, feed: Feed) -> timedelta:
        """Read the audit log back as far as the settings say."""
        return timedelta(days=self.settings.days) if feed.name == "audit" else feed.lookback

    def ruling(self, reply: Reply) -> Exception | None:
        """Tell throttling from missing rights; read GraphQL's errors."""
        return calls.ruling(reply)

    def quota(self, reply: Reply) -> Mapping[str, tuple[float, float | None]]:
        """Believe the headers about the hour."""
        return calls.quota(reply)

    def ours(self, event: Event) -> bool:
        """Tell our echoes by the acting account's number or, for an App, by its bot's name."""
        user = (event.get("actor") or {}).get("user") or {}
        return user.get("name") in self.instance.ourselves or super().ours(event)

    @feed("accounts", to=inventory.account, every=timedelta(hours=1))
    async def accounts(self, at: At) -> AsyncIterator[Page]:
        """Members, outside collaborators and pending invitations."""
        async for page in reads.read_accounts(self, at):
            yield page

    @feed(
        "user_activity", "admin_activity", "logons", to=audit_record, every=timedelta(minutes=1),
        late=timedelta(minutes=30), widest=timedelta(hours=6),
    )  # fmt: skip
    async def audit(self, at: At) -> AsyncIterator[Page]:
        """The audit log with git events; GitHub names no bound to its lateness."""
        async for page in reads.read_log(self, at):
            yield page

    @feed(
        "user_activity", "admin_activity", to=webhook_record, every=timedelta(minutes=5),
        late=timedelta(minutes=10), lookback=timedelta(days=3), newest_first=True,
    )  # fmt: skip
    async def webhooks(self, at: At) -> AsyncIterator[Page]:
        """What the webhook brought or failed to bring, of the kinds that no audit log has."""
        async for page in read_failed(self, at):
            yield page

    @feed("groups", to=inventory.group, every=timedelta(hours=2))
    async def groups(self, at: At) -> AsyncIterator[Page]:
        """Teams with their members."""
        async for page in reads.read_groups(self, at):
            yield page

    @feed("privileges", to=inventory.privilege, every=timedelta(hours=6), per=reads.privilege_axes)
    async def privileges(self, at: At) -> AsyncIterator[Page]:
        """Owners, organization roles, collaborators of repositories, repositories of teams."""
        async for page in reads.read_privileges(self, at):
            yield page

    @feed("app_permissions", to=inventory.app, every=timedelta(hours=1), per=reads.app_axes)
    async def apps(self, at: At) -> AsyncIterator[Page]:
        """Installed Apps, credentials authorized for single sign-on, fine-grained tokens."""
        async for page in reads.read_apps(self, at):
            yield page

    @hook(Hmac("X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery"))
    def changed(self, delivery: Delivery) -> Iterable[Hooked]:
        """Read the audit log at once, or publish what it does not have."""
        return told(self, delivery)
