"""GitHub: an organization's people, teams, grants, apps and audit log; Enterprise Cloud and Server."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from ingest.paging import Unchanged
from ingest.provider import (
    Api,
    Event,
    Feed,
    Http,
    Instance,
    Missing,
    NotAllowed,
    Provider,
    Refused,
    feed,
    hook,
)
from ingest.providers.github import calls, hooks, inventory, reads
from ingest.providers.github.actions import ACTIONS
from ingest.providers.github.events import audit_record
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
    subscriptions = (hooks.OrganizationHook(),)
    probe = read_grants
    ruling = staticmethod(calls.ruling)
    quota = staticmethod(calls.quota)

    def __init__(
        self,
        settings: Settings,
        http: Http,
        instance: Instance,
        elsewhere: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Take an audit log for granted until the sign-in, or a setting, says otherwise.

        Lists are asked for conditionally with a token alone: GitHub's ETags are a token's own, and an App's
        lives an hour.
        """
        super().__init__(settings, http, instance, elsewhere)
        self.lists: Http | Unchanged = http if settings.as_app else Unchanged(http)
        self.audited = settings.audit_log is not False

    def apis(self) -> Mapping[str, Api]:
        """REST and GraphQL and, for an App, its own corner of REST."""
        return apis(self.settings)

    async def identify(self) -> Instance:
        """Ask for the organization's number, who we are, and whether there is an audit log to read."""
        org = (await calls.get(self, self.settings.org)).json
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

    def lookback(self, feed: Feed) -> timedelta:
        """Read the audit log back as far as the settings say; what is late is looked for from now on."""
        backs = {"audit": timedelta(days=self.settings.days), "latecomers": timedelta(0)}
        return backs.get(feed.name, feed.lookback)

    def ours(self, event: Event) -> bool:
        """Tell our echoes by the acting account's number or, for an App, by its bot's name."""
        user = (event.get("actor") or {}).get("user") or {}
        return user.get("name") in self.instance.ourselves or super().ours(event)

    accounts = feed("accounts", to=inventory.account, every=timedelta(hours=1))(reads.accounts)
    audit = feed(
        "user_activity", "admin_activity", "logons", to=audit_record, every=timedelta(minutes=1),
        late=timedelta(minutes=30), widest=timedelta(hours=6),
    )(reads.audit)  # fmt: skip
    latecomers = feed(
        "user_activity", "admin_activity", "logons", to=audit_record, every=timedelta(days=1),
        late=timedelta(days=1), lookback=timedelta(days=1), widest=timedelta(hours=6),
    )(reads.latecomers)  # fmt: skip
    webhooks = feed(
        "user_activity", "admin_activity", to=webhook_record, every=timedelta(minutes=5),
        late=timedelta(minutes=10), lookback=timedelta(days=3), newest_first=True,
    )(hooks.webhooks)  # fmt: skip
    groups = feed("groups", to=inventory.group, every=timedelta(hours=2))(reads.groups)
    privileges = feed(
        "privileges", to=inventory.privilege, every=timedelta(hours=6), per=reads.privilege_axes
    )(reads.privileges)
    apps = feed("app_permissions", to=inventory.app, every=timedelta(hours=1), per=reads.app_axes)(reads.apps)
    changed = hook(Hmac("X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery"))(hooks.changed)
