"""The simulated tenant: an organisation with state, its App, its log, its hooks and its limits.

Seed it with `sandbox.github.seed.seed`, start it with `sandbox.github.server.running`.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count

from sandbox.clock import Clock
from sandbox.github import shapes
from sandbox.github.access import Access, new_app
from sandbox.github.answers import Json
from sandbox.github.audit import AuditLog, Entry, document_id
from sandbox.github.estate import Repository
from sandbox.github.faults import Faults
from sandbox.github.limits import Limits
from sandbox.github.state import Organization, User
from sandbox.github.truth import Occurrence
from sandbox.github.webhooks import Hook, Webhooks

PERMISSIONS = {
    "members": "write",
    "metadata": "read",
    "administration": "write",
    "contents": "read",
    "organization_administration": "write",
    "organization_custom_org_roles": "read",
    "organization_custom_roles": "read",
    "organization_hooks": "write",
    "organization_personal_access_tokens": "write",
    "organization_personal_access_token_requests": "read",
    "organization_user_blocking": "write",
    "organization_plan": "read",
}
BOT = "sluice-connect[bot]"


class GitHubTenant:
    """GitHub as one organisation sees it. `url` is set while a server runs.

    `lag` is how many seconds after its time an audit event is indexed; `latency` how long each answer takes,
    so that calls overlap; `job_time` how long asynchronous jobs take. `truth` has every occurrence,
    `requests` counts calls by rate-limit bucket, `limits` tells which limits were run into. Users in
    `forbidden` are null nodes with an error beside them in GraphQL.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        organization: str = "acme",
        enterprise: str = "acme-inc",
        permissions: dict[str, str] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.url = ""
        self.lag, self.latency, self.job_time, self.token_life = 0.0, 0.0, 1.0, 3_600.0
        now = self.clock.now()
        self.org = Organization(organization, 6_811_672, enterprise, 4_321, now - 900 * 86_400)
        self.access = Access(
            new_app(901_234, "sluice-connect", dict(permissions or PERMISSIONS), ["organization"])
        )
        self.limits, self.faults, self.log = Limits(), Faults(), AuditLog()
        self.webhooks = Webhooks(self.clock.now)
        self.app_hook = self.webhooks.add(Hook(0, "App", "", now, ["*"], "json", active=False))
        self.truth: list[Occurrence] = []
        self.requests: Counter[str] = Counter()
        self.forbidden: set[int] = set()
        self.jobs: list[tuple[float, Callable[[], None]]] = []
        self.numbers = count(1)
        self.salt = organization

    @property
    def ms(self) -> int:
        """The present moment in milliseconds."""
        return int(self.clock.now() * 1000)

    def order(self, path: str, *faults: str) -> None:
        """Order failures for the next calls whose path (without /api/v3) begins so."""
        self.faults.order(path, *faults)

    def issued(self) -> list[str]:
        """Every secret the tenant gave out or was given: the App's key, tokens, the hooks' secrets."""
        return [*self.access.given, *(hook.secret for hook in self.webhooks.hooks.values() if hook.secret)]

    def actor(self, login: str) -> User:
        """The account of a login; Apps act as their bot."""
        found = self.org.user(login)
        return found or User(self.access.app.id, login, login, "", kind="Bot")

    def later(self, job: Callable[[], None]) -> None:
        """Do it asynchronously, `job_time` from now."""
        self.jobs.append((self.clock.now() + self.job_time, job))

    def tick(self) -> None:
        """Do the jobs that are due."""
        now = self.clock.now()
        due = [job for at, job in self.jobs if at <= now]
        if due:
            self.jobs = [one for one in self.jobs if one[0] > now]
        for job in due:
            job()

    def happen(
        self,
        action: str,
        actor: str,
        *,
        operation: str = "modify",
        ago: float = 0.0,
        late: float | None = None,
        git: bool = False,
        business: bool = False,
        hook: tuple[str, str, Json] | None = None,
        **fields: Json,
    ) -> Occurrence:
        """Let something happen: a log entry and, with `hook` (event, action, payload), a webhook.

        Without an action ("") there is no log entry.
        """
        now = self.clock.now()
        at = now - ago
        visible = at + (self.lag if late is None else late)
        who = self.actor(actor)
        uid = ""
        if action:
            uid = document_id(next(self.numbers), self.salt)
            record = self._record(action, who, int(at * 1000), uid, operation, git=git, business=business)
            entry = Entry(
                int(at * 1000), uid, int(visible * 1000), {**record, **fields}, git=git, enterprise=business
            )
            self.log.add(entry)
        guid = self.send(hook[0], hook[1], hook[2], who) if hook else ""
        name = action or (f"{hook[0]}.{hook[1]}" if hook else "")
        done = Occurrence(uid, guid, at, visible, name, who.login, who.id, git, business)
        self.truth.append(done)
        return done

    def _record(
        self, action: str, who: User, at: int, uid: str, operation: str, *, git: bool, business: bool
    ) -> Json:
        org = self.org
        record: Json = {
            "@timestamp": at,
            "_document_id": uid,
            "action": action,
            "actor": who.login,
            "actor_id": who.id,
            "actor_is_bot": who.kind == "Bot",
            "business": org.enterprise,
            "business_id": org.enterprise_id,
        }
        if not business:
            record |= {"org": org.login, "org_id": org.id}
        if not git:
            record |= {"created_at": at + at % 7, "operation_type": operation}
        if org.discloses_ip and who.kind != "Bot":
            record["actor_ip"] = f"198.51.100.{who.id % 250 + 1}"
            record["actor_location"] = {"country_code": "US"}
        return record

    def send(self, event: str, action: str, payload: Json, sender: User) -> str:
        """Send a webhook to every hook that wants the event; the GUID of the first delivery, "" without."""
        org, base = self.org, self.url
        body: Json = {"action": action} if action else {}
        body |= payload
        body |= {"organization": shapes.organization(base, org), "sender": shapes.user(base, sender)}
        guids = []
        for hook in list(self.webhooks.hooks.values()):
            if not hook.active or not {"*", event} & set(hook.events):
                continue
            if hook.kind == "App":
                own = next((i for i in org.installations.values() if i.app_id == self.access.app.id), None)
                if own is None or (own.suspended and event != "installation"):
                    continue
                extra = {
                    "installation": {"id": own.id, "node_id": shapes.node("Installation", own.id)},
                    **body,
                }
                guids.append(self.webhooks.emit(hook, event, extra, self.access.app.id))
            elif event != "installation":
                guids.append(self.webhooks.emit(hook, event, body, org.id))
        return guids[0] if guids else ""

    def about(self, one: User) -> Json:
        """Log fields on the user something was done to."""
        return {"user": one.login, "user_id": one.id}

    def on(self, repo: Repository) -> Json:
        """Log fields on the repository something was done to."""
        return {
            "repo": f"{self.org.login}/{repo.name}",
            "repo_id": repo.id,
            "public_repo": repo.visibility == "public",
            "visibility": repo.visibility,
        }
