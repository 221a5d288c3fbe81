"""What each type of System Log event is: OCSF class and activity, by the longest prefix that fits.

A line reads `class.activity prefix prefix …`; activity `*` follows the type's last word (create, delete …),
so that a family needs one rule. A type that no rule knows is API activity with the type as its operation.
Sources: Okta event types catalogue; OCSF 1.8.0, classes 3001 to 3006, 6003.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

_TABLE: Final = """
3002.1 user.session.start user.authentication. user.device_session.start app.inbound_del_auth.
3002.1 app.oauth2.signon app.kerberos_rich_client. app.generic.unauth_app_access_attempt
3002.1 app.oauth2.invalid_client_credentials application.policy.sign_on.deny_access
3002.1 system.iwa_agentless.auth system.iwa_agentless.user.not_found system.ldapi.bind
3002.1 device.password_sync.authentication device.platform_sso.authentication pam.server.ssh_login
3002.2 user.session.end user.session.expire user.session.clear user.session.impersonation.end
3002.2 user.authentication.slo user.authentication.universal_logout user.device_session.end
3002.2 system.ldapi.unbind device.desktop_mfa.device_logout.
3002.6 policy.evaluate_sign_on user.identity_verification
3002.7 user.session.impersonation.initiate
3002.99 user.authentication.verify user.mfa.okta_verify user.mfa.attempt_bypass
3002.99 system.iwa_agentless.redirect system.email.challenge_factor_redeemed

3001.1 user.lifecycle.create user.lifecycle.jit. system.import.user.create
3001.1 system.identity_sources.user.create system.agent.ldap.create_user_JIT
3001.1 app.realtimesync.import.details.add_user application.provision.user.push
3001.1 app.user_management.push_new_user_success device.local_account.create pam.user.create
3001.1 pam.service_account.create
3001.2 user.lifecycle.activate user.lifecycle.reactivate user.lifecycle.unsuspend
3001.2 system.import.user.unsuspend application.provision.user.activate
3001.2 application.provision.user.reactivate
3001.3 user.account.update_password user.import.password application.user_membership.change_password
3001.3 application.user_membership.restore_password application.provision.user.password
3001.3 application.provision.user.push_okta_password application.provision.user.push_password
3001.3 app.ldap.password.change. app.ad.password_migration_campaign.user.
3001.3 system.agent.ldap.change_user_password system.agent.ldap.update_user_password pam.password.change
3001.3 pam.server_account.password_change. pam.service_account.password.update
3001.3 pam.service_account.password_rotation.
3001.4 user.account.reset_password user.account.expire_password user.lifecycle.password_mass_expiry
3001.4 system.agent.ad.reset_user_password system.agent.ldap.reset_user_password pam.password.reset
3001.5 user.lifecycle.suspend user.lifecycle.deactivate system.import.user.suspend
3001.5 scheduled_action.user_suspension.completed application.provision.user.deactivate
3001.6 user.lifecycle.delete. system.import.user.delete system.identity_sources.user.delete pam.user.remove
3001.6 app.realtimesync.import.details.delete_user application.provision.user.deprovision
3001.6 app.office365.user.delete. pam.service_account.delete
3001.9 user.account.lock app.ad.api.user_import.account_locked
3001.10 user.mfa.factor.activate user.mfa.factor.unsuspend credential.register
3001.11 user.mfa.factor.deactivate user.mfa.factor.reset_all user.mfa.factor.suspend credential.revoke
3001.12 user.account.unlock system.agent.ad.unlock_user_account system.agent.ldap.unlock_user_account
3001.99 user.account. user.mfa.factor. user.credential. user.behavior. scheduled_action.user_suspension.
3001.99 system.import.user.update system.identity_sources.user.update system.agent.ad.update_user
3001.99 system.agent.ldap.update_user app.realtimesync.import.details.update_user
3001.99 application.user_membership.change_username application.user_membership.show_password
3001.99 application.user_membership.update application.provision.user.import
3001.99 application.provision.user.push_profile application.provision.user.sync app.office365.user.
3001.99 pam.user.update pam.service_account. pam.server_account.

3003.1 app.oauth2.as.authorize app.oauth2.authorize app.oauth2.as.token.grant app.oauth2.token.grant
3003.1 pam.auth_token.issue pam.user_creds.issue pam.gateway_creds.issue

3005.1 application.user_membership.add application.user_membership.approve
3005.1 application.user_membership.provision application.user_membership.restore
3005.1 master_application.user_membership.add app.access_request.grant user.account.privilege.grant
3005.1 user.session.impersonation.grant user.session.impersonation.extend app.oauth2.client.privilege.grant
3005.1 app.oauth2.as.consent.grant app.oauth2.consent.grant app.oauth2.admin.consent.grant
3005.1 iam.resourceset.bindings.add workflows.user.role.user.add system.directory.debugger.grant
3005.1 system.directory.debugger.extend
3005.2 application.user_membership.remove application.user_membership.revoke
3005.2 application.user_membership.deprovision user.account.privilege.revoke
3005.2 user.session.impersonation.revoke app.oauth2.client.privilege.revoke app.oauth2.as.consent.revoke
3005.2 app.oauth2.admin.consent.revoke app.oauth2.as.token.revoke app.oauth2.token.revoke
3005.2 iam.resourceset.bindings.delete workflows.user.role.user.remove system.directory.debugger.revoke
3005.2 app.office365.user.remove.licenses.

3006.1 group.privilege.grant group.application_assignment.add workflows.user.role.group.add
3006.2 group.privilege.revoke group.application_assignment.remove workflows.user.role.group.remove
3006.3 group.user_membership.add directory.external.group.membership.add pam.member.add
3006.3 application.provision.group_membership.add system.identity_sources.group.user.assign
3006.4 group.user_membership.remove directory.external.group.membership.remove pam.member.remove
3006.4 application.provision.group_membership.remove system.identity_sources.group.user.revoke
3006.5 group.lifecycle.delete application.provision.group.remove application.provision.group_push.removed
3006.5 application.provision.group_push.delete_appgroup system.import.group.delete pam.group.delete
3006.5 system.identity_sources.group.delete app.user_management.user_group_import.delete_success
3006.6 group.lifecycle.create application.provision.group.add application.provision.group_push.pushed
3006.6 system.import.group.create system.identity_sources.group.create pam.group.create
3006.6 app.user_management.user_group_import.create_failure
3006.99 group. application.provision.group. application.provision.group_membership. pam.group.
3006.99 application.provision.group_push. system.import.group.update system.identity_sources.group.update
3006.99 app.user_management pam.offline_ pam.permission.change

3004.6 device.enrollment. device.user.add device.desktop_mfa.enrollment. device.password_sync.enrollment.
3004.6 device.platform_sso.enrollment. mim.createEnrollment. pam.client.enroll pam.unbound_client.enroll
3004.6 pam.server.enroll
3004.7 device.user.remove pam.client.remove pam.server.remove
3004.3 iam.resourceset.resources. iam.role.permission. iam.role.permissions. zone.make_blacklist
3004.3 zone.remove_blacklist security.zone. security.voice. security.device. event_hook.verified
3004.3 inline_hook.verified app.oauth2.as.key.rollover app.oauth2.key.rollover app.office365.api.change.
3004.3 app.office365.api.set. app.office365.api.remove. system.email.template.settings_changed
3004.3 system.custom_url_domain. system.feature.ea_auto_enroll security.session_protection.
3004.3 system.api_token.update
3004.4 system.api_token.revoke
3004.8 system.beta.feature.enable
3004.* access.request.condition. access.request.sequence. access.request.settings. account.
3004.* app.ad.password_migration_campaign. app.ai_agent_provider. app.app_instance.csr.
3004.* app.cross_app_access. app.interclient_mapping. app.keys. app.oauth2.api_resource.
3004.* app.oauth2.as.resource_server. app.oauth2.client.lifecycle. app.oauth2.credentials.
3004.* app.oauth2.trusted_server. app.policy. app.saml. application.configuration. application.lifecycle.
3004.* application.policy. application.registration_policy. application.provision.field_mapping_rule.
3004.* certification.campaign. device. directory. event_hook. iam. group.user_membership.rule. inline_hook.
3004.* integration.api_service. network_zone. oauth2. pam. personal.admin. pki. policy.lifecycle.
3004.* policy.mapping. policy.rule. resource_servers. security.attack_protection. security.authenticator.
3004.* security.behavior. security.events. security.protected_action.settings.
3004.* security.threat.configuration. security.trusted_origin. self_service.
3004.* system.agent.ad.config_change_detected system.agent.ad.create system.agent.ad.deactivate
3004.* system.agent.ad.delete system.agent.ad.reactivate system.agent.ad.update system.agent.ad.upgrade
3004.* system.agent.auto_update system.agent.connector. system.agent.ldap.config_change_detected
3004.* system.agent.register system.agent_pools. system.api_token. system.brand. system.captcha.
3004.* system.custom_email_server. system.custom_error. system.custom_signin. system.custom_signout.
3004.* system.email.template. system.email_domain. system.feature. system.hook.key. system.idp. system.iwa.
3004.* system.iwa_agentless.update system.iwa_agentless_kerberos. system.log_stream. system.mfa.factor.
3004.* system.org.captcha. system.org.lifecycle. system.rate_limit.configuration. system.self_service.
3004.* system.theme. system.well_known_uri. task. workload_principal. zone.

6003.2 analytics.reports.export. app.audit_report. pam.secret.reveal pam.server_account.password.reveal
6003.2 pam.service_account.password.reveal system.ldapi.search application.provision.user.verify_exists
6003.2 mim.streamDevicesCSVDownload app.oauth2.client.read_client_secret
6003.2 application.configuration.read_client_secret system.idp.lifecycle.read_client_secret
6003.2 system.directory.debugger.query_executed
6003.99 analytics.feedback. app.ad.api. app.office365. app.radius. app.request_new. app.rum.
6003.99 app.app_instance. app.oauth2.as.authorize.scope_denied app.oauth2.as.evaluate.
6003.99 app.oauth2.as.interact. app.oauth2.interact. app.oauth2.as.token.detect_reuse
6003.99 app.oauth2.token.detect_reuse app.oauth2.token.oauth_sts. app.oauth2.client_id_rate_limit_warning
6003.99 application.appuser. application.cache. application.integration. application.provision.integration.
6003.99 certification.campaign.item. certification.campaign.launch certification.campaign.close
6003.99 certification.remediation. core. device.custom_push. event_hook.delivery inline_hook.executed
6003.99 inline_hook.response. mim.command. org. personal.user. plugin. pam.resource.checkin.
6003.99 pam.resource.checkout pam.security_policy.evaluate pki.cert.crl_download_failure pki.ca.expiration.
6003.99 policy.auth_reevaluate. policy.continuous_access. policy.entity_risk. policy.execute.
6003.99 policy.rule.action. policy.scheduled. security.attack. security.breached_credential.
6003.99 security.events.provider.receive_event security.protected_action.attempt security.request.
6003.99 security.session. security.threat.detected system.agent.ad. system.agent.ldap. system.client.
6003.99 system.api_token.request_outside_allowed_range system.csv. system.dr. system.email.
6003.99 system.identity_sources. system.import. system.iwa_agentless.auth_after_redirect system.ldapi.
6003.99 system.oauth2. system.operation. system.org.rate_limit. system.org.task. system.push. system.sms.
6003.99 system.voice. user.risk. user.session.access_admin_app user.session.context. workflows.org.
6003.99 workflows.user.delegatedflow. user.account.report_suspicious_activity_by_enduser
6003.99 device.signals.status.
6003.* access.request. access.review. app.access_request. support. user.identity_snapshot. workflows.user.
"""

_WORDS: Final[Mapping[int, str]] = {
    1: "create created add register generate issue new initiate publish duplicate bootstrap bind clone",
    2: "read view reveal show download export",
    3: "update updated change changed rename rotate rotated renew reset overwrite save modify upgrade",
    4: "delete deleted remove revoke clear",
    5: "move",
    6: "enroll",
    8: "enable enabled",
    9: "disable disabled",
    10: "activate activated reactivate authorize",
    11: "deactivate deactivated invalidate",
    12: "suspend hold",
    13: "unsuspend resume",
}
_BY_WORD: Final = {word: number for number, words in _WORDS.items() for word in words.split()}


class Rule(NamedTuple):
    """What a type of event is; without `prefix` nobody thought of it."""

    class_uid: int
    activity_id: int
    prefix: str = ""


def _read(table: str) -> dict[str, tuple[int, int | None]]:
    found: dict[str, tuple[int, int | None]] = {}
    for line in filter(None, table.splitlines()):
        what, *prefixes = line.split()
        class_uid, _, activity = what.partition(".")
        for prefix in prefixes:
            if (
                found.setdefault(prefix, made := (int(class_uid), None if activity == "*" else int(activity)))
                != made
            ):
                raise ValueError(f"two rules for {prefix}")
    return found


RULES: Final = _read(_TABLE)


@lru_cache(maxsize=4096)
def rule(event_type: str) -> Rule:
    """Find the rule of a type."""
    for end in range(len(event_type), 0, -1):
        found = RULES.get(event_type[:end])
        if found is not None:
            class_uid, activity = found
            return Rule(
                class_uid, _by_word(class_uid, event_type) if activity is None else activity, event_type[:end]
            )
    return Rule(6003, 99)


def _by_word(class_uid: int, event_type: str) -> int:
    last = event_type.rpartition(".")[2]
    number = _BY_WORD.get(last) or _BY_WORD.get(last.partition("_")[0], 99)
    if class_uid == 6003 and 4 < number < 99:
        return 1 if number == 6 else 3
    return number
