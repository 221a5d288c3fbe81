"""What only the enterprise's owners see: who takes up licences."""

from sandbox.github.answers import Answer, Json
from sandbox.github.call import PAGES, Call, route
from sandbox.github.tenant import GitHubTenant


@route(
    "GET",
    "/enterprises/{enterprise}/consumed-licenses",
    permission="no",
    only=("oauth",),
    scopes=("read:enterprise", "admin:enterprise"),
    query=PAGES,
)
def licences(tenant: GitHubTenant, call: Call) -> Answer:
    """Users with a licence, with names of the identity provider and verified addresses."""
    org = tenant.org
    people = [org.users[one] for one in (*org.members, *org.outsiders)]
    start = (call.number("page", 1) - 1) * call.size
    shown: list[Json] = [
        {
            "github_com_login": one.login,
            "github_com_name": one.name,
            "enterprise_server_user_ids": [],
            "github_com_user": True,
            "enterprise_server_user": False,
            "visual_studio_subscription_user": False,
            "license_type": "enterprise",
            "github_com_profile": f"https://github.com/{one.login}",
            "github_com_member_roles": [
                f"{org.login}:{'Owner' if org.members.get(one.id) == 'admin' else 'Member'}"
            ],
            "github_com_enterprise_roles": ["Member"],
            "github_com_verified_domain_emails": [one.email] if one.id in org.members else [],
            "github_com_saml_name_id": one.name_id or None,
            "github_com_orgs_with_pending_invites": [],
            "github_com_two_factor_auth": one.two_factor,
            "enterprise_server_primary_emails": [],
            "visual_studio_license_status": "",
            "visual_studio_subscription_email": "",
            "total_user_accounts": 1,
        }
        for one in people[start : start + call.size]
    ]
    seats = len(people)
    return Answer({"total_seats_consumed": seats, "total_seats_purchased": seats + 10, "users": shown})
