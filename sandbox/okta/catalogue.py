"""The event types that the org writes, with their messages."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A type's display message and severity."""

    message: str
    severity: str = "INFO"


KINDS: Final[Mapping[str, Kind]] = {
    "user.session.start": Kind("User login to Okta"),
    "user.session.end": Kind("User logout from Okta"),
    "user.session.clear": Kind("Clear user session"),
    "user.session.access_admin_app": Kind("User accessing Okta admin app"),
    "user.authentication.sso": Kind("User single sign on to app"),
    "user.authentication.auth_via_mfa": Kind("Authentication of user via MFA"),
    "user.authentication.verify": Kind("Verify user identity"),
    "policy.evaluate_sign_on": Kind("Evaluation of sign-on policy"),
    "user.mfa.factor.activate": Kind("Activate factor or authenticator enrollment for user"),
    "user.mfa.factor.reset_all": Kind("Reset all factors for user"),
    "user.account.update_password": Kind("User update password for Okta"),
    "user.account.reset_password": Kind("User reset password for Okta (by admin)"),
    "user.account.expire_password": Kind("Expire user password"),
    "user.account.lock": Kind("Max sign in attempts exceeded", severity="WARN"),
    "user.account.unlock_by_admin": Kind("Account unlock by admin"),
    "user.account.privilege.grant": Kind("Grant user privilege"),
    "user.account.privilege.revoke": Kind("Revoke user privilege"),
    "user.account.update_profile": Kind("Update user profile for Okta"),
    "user.lifecycle.create": Kind("Create Okta user"),
    "user.lifecycle.activate": Kind("Activate Okta user"),
    "user.lifecycle.deactivate": Kind("Deactivate Okta user"),
    "user.lifecycle.suspend": Kind("Suspend Okta user"),
    "user.lifecycle.unsuspend": Kind("Unsuspend Okta user"),
    "user.lifecycle.delete.initiated": Kind("Delete Okta user initiated"),
    "group.user_membership.add": Kind("Add user to group membership"),
    "group.user_membership.remove": Kind("Remove user from group membership"),
    "group.lifecycle.create": Kind("Create Okta group"),
    "group.lifecycle.delete": Kind("Delete Okta group"),
    "group.privilege.grant": Kind("Grant group privilege"),
    "group.privilege.revoke": Kind("Revoke group privilege"),
    "application.user_membership.add": Kind("Add user to application membership"),
    "application.user_membership.remove": Kind("Remove user's application membership"),
    "application.lifecycle.create": Kind("Create application"),
    "application.lifecycle.update": Kind("Update application"),
    "policy.rule.update": Kind("Update policy rule"),
    "policy.lifecycle.update": Kind("Update policy"),
    "zone.update": Kind("Update of a network zone"),
    "system.api_token.create": Kind("Create API token"),
    "system.api_token.revoke": Kind("Revoke API token"),
    "iam.role.create": Kind("Create custom admin role"),
    "app.oauth2.as.consent.grant": Kind("User granted consent to app"),
    "app.oauth2.as.consent.revoke.user": Kind("Revoke user's consent"),
    "app.oauth2.as.token.grant": Kind("OAuth2 token request"),
    "app.oauth2.token.revoke": Kind("Revoke OAuth2 token"),
    "app.oauth2.token.grant.access_token": Kind("OAuth2 access token is granted"),
    "event_hook.activated": Kind("An event hook was activated"),
    "event_hook.created": Kind("An event hook was created"),
    "event_hook.deactivated": Kind("An event hook was deactivated"),
    "event_hook.deleted": Kind("An event hook was deleted"),
    "event_hook.delivery": Kind("An event hook delivery failed", severity="WARN"),
    "event_hook.updated": Kind("An event hook was updated"),
    "event_hook.verified": Kind("An event hook was verified"),
    "security.threat.detected": Kind("Request from suspicious actor", severity="WARN"),
    "user.risk.detect": Kind("User's risk level changed"),
    "system.org.rate_limit.warning": Kind("Rate limit warning", severity="WARN"),
    "system.org.rate_limit.violation": Kind("Rate limit violation", severity="WARN"),
    "core.concurrency.org.limit.violation": Kind("Too many concurrent requests", severity="WARN"),
}
