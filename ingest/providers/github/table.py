"""What each action of the audit log means: an OCSF class and activity.

A row is `class activity kind: patterns`; in a pattern `*` stands for anything, and the longest pattern that
fits wins. Where the activity is `by-verb` it follows from the action's own words. `kind` is the type of the
resource (6001) or entity (3004), or the privilege that is given or taken (3005). Source: "Audit log events
for your organization", "Audit log events for your enterprise".
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias


class Rule(NamedTuple):
    """What an action means; `known` is False for what no row names."""

    class_uid: int
    activity: int
    kind: str
    known: bool = True


Row: TypeAlias = tuple[int, int | None, str, tuple[str, ...]]
OTHER: Final = 99
"""An activity that OCSF has no number for; the event then says the action's name."""

_ROWS: Final = """
3002 1: org.sso_response business.sso_response user.login user.failed_login user.new_device_used
    user.sign_in_from_* user.two_factor_recover *.recovery_code_used *.recovery_code_failed
    business.proxy_security_header_unsatisfied
3002 2: user.logout *.revoke_sso_session
3002 6: user.two_factor_challenge_* user.two_factor_requested user.device_verification_*
    user.correct_password_* two_factor_authentication.sign_in_fallback_sms
3002 other: user_session.*
3001 1: org.add_member user.create user.recreate external_identity.provision
3001 2: org.restore_member user.unsuspend
3001 3: user.change_password
3001 4: user.reset_password user.forgot_password two_factor_authentication.password_reset_fallback_sms
3001 5: user.suspend external_identity.deprovision
3001 6: org.remove_member business.remove_member user.delete user.destroy user.async_delete
3001 9: org.block_user user.block_user
3001 12: org.unblock_user user.unblock_user
3001 10: two_factor_authentication.enabled two_factor_authentication.add_factor passkey.register
    security_key.register trusted_device.register
3001 11: two_factor_authentication.disabled two_factor_authentication.remove_factor passkey.remove
    security_key.remove trusted_device.remove two_factor_account_recovery.two_factor_destroy
3001 other: user.* user_email.* user_status.* external_identity.* social_identity.*
    two_factor_authentication.* two_factor_account_recovery.* account_recovery_token.* profile_picture.*
    successor_invitation.* org.invite_member org.cancel_invitation *.revoke_external_identity
    business.invite_* business.cancel_*_invitation
3006 6: team.create enterprise_team.create external_group.provision
3006 5: team.destroy enterprise_team.destroy external_group.delete
3006 3: team.add_member enterprise_team.add_member external_group.add_member
3006 4: team.remove_member enterprise_team.remove_member external_group.remove_member
3006 7: team.change_parent_team
3006 1: team.add_repository team.update_repository_permission team.promote_maintainer
    team.add_to_organization enterprise_team.copilot_assignment external_group.link
    org.codespaces_team_access_allowed organization_moderators.add_team project.update_team_permission
    team_group_mapping.create
3006 2: team.remove_repository team.demote_maintainer team.remove_from_organization
    enterprise_team.copilot_unassignment external_group.unlink org.codespaces_team_access_revoked
    organization_moderators.remove_team team_group_mapping.destroy
3006 other: team.* enterprise_team.* external_group.* team_group_mapping.*
3005 1 owner: business.add_admin
3005 2 owner: business.remove_admin
3005 1 billing_manager: *.add_billing_manager
3005 2 billing_manager: *.remove_billing_manager
3005 1 security_manager: org.add_security_manager
3005 2 security_manager: org.remove_security_manager
3005 1 support_entitlement: business.add_support_entitlee
3005 2 support_entitlement: business.remove_support_entitlee
3005 1 site_admin: user.promote user.grant_github_developer
3005 2 site_admin: user.demote
3005 1 app_manager: integration.manager_added org.integration_manager_added
3005 2 app_manager: integration.manager_removed org.integration_manager_removed
3005 1 moderator: organization_moderators.add_user
3005 2 moderator: organization_moderators.remove_user
3005 1 member_role: org.update_member
3005 1 role: organization_role.assign enterprise_role.assign
3005 2 role: organization_role.revoke enterprise_role.revoke
3005 1 repository: repo.add_member repo.update_member org.add_outside_collaborator
    repository_invitation.accept repository_invitation.create repo.temporary_access_granted
    repo.staff_unlock repo.override_unlock
3005 2 repository: repo.remove_member org.remove_outside_collaborator repository_invitation.cancel
    repository_invitation.reject
3005 1 project: project_collaborator.add project_collaborator.update project.update_user_permission
3005 2 project: project_collaborator.remove
3005 1 codespaces: org.codespaces_user_access_allowed *.codespaces_trusted_repo_access_granted
    codespaces.allow_permissions
3005 2 codespaces: org.codespaces_user_access_revoked *.codespaces_trusted_repo_access_revoked
3005 1 copilot: copilot.cfb_seat_added copilot.cfb_seat_assignment_created
    copilot.cfb_seat_assignment_refreshed copilot.cfb_seat_assignment_reused copilot.user_access_reinstated
3005 2 copilot: copilot.cfb_seat_assignment_unassigned copilot.cfb_seat_cancelled* copilot.access_revoked
    copilot.user_access_revoked
3005 1 github_app: integration_installation.create integration_installation.unsuspend
    integration_installation.repositories_added integration_installation.version_updated
3005 2 github_app: integration_installation.destroy integration_installation.suspend
    integration_installation.repositories_removed integration.revoke_*
3005 1 oauth_app: oauth_authorization.create oauth_authorization.update oauth_access.create
    oauth_access.regenerate oauth_access.update org.oauth_app_access_approved org.oauth_app_access_unblocked
3005 2 oauth_app: oauth_authorization.destroy oauth_access.destroy oauth_access.revoke
    org.oauth_app_access_denied org.oauth_app_access_blocked oauth_application.revoke_*
3005 other oauth_app: org.oauth_app_access_requested
3005 other github_app: integration_installation_request.*
3005 1 credential: org_credential_authorization.grant
3005 2 credential: org_credential_authorization.*
3005 1 personal_access_token: personal_access_token.access_granted personal_access_token.create
    personal_access_token.credential_regenerated personal_access_token.update
3005 2 personal_access_token: personal_access_token.access_revoked personal_access_token.destroy
    personal_access_token.credential_revoked
3005 other personal_access_token: personal_access_token.request_*
3005 1 key: public_key.create public_key.verify public_key.update git_signing_ssh_public_key.create
    gpg_key.create
3005 2 key: public_key.delete public_key.unverify git_signing_ssh_public_key.delete gpg_key.destroy
3005 other key: public_key.*
6001 7 repository: git.clone git.fetch repo.download_zip
6001 3 repository: git.push
6001 3 repository: repo.access repo.rename* repo.transfer* repo.archived repo.unarchived repo.disk_archive
    repo.add_topic repo.remove_topic repo.update_default_branch repo.noindex repo.hide_from_discovery
    repo.require_login repo.collaborators_only
6001 1 repository: repo.create repo.restore
6001 4 repository: repo.destroy
6001 by-verb pages: repo.pages_*
6001 8 pages: repo.pages_public
6001 3 pages: repo.pages_soft_delete_restore
6001 by-verb issue: issue.*
6001 3 issue: issue_dependencies.* sub_issues.*
6001 by-verb comment: issue_comment.* commit_comment.* discussion_comment.* user.minimize_comment
    user.unminimize_comment user.report_*
6001 by-verb discussion: discussion.* discussion_post.* discussion_post_reply.*
6001 by-verb pull_request: pull_request.* pull_request_review.* pull_request_review_comment.* merge_queue.*
6001 by-verb gist: gist.*
6001 by-verb project: project.* project_field.* project_view.*
6001 8 project: project.visibility_public
6001 by-verb package: packages.*
6001 by-verb workflow: workflows.*
6001 1 workflow: workflows.created_workflow_run workflows.rerun_workflow_run
6001 by-verb workflow_artifact: artifact.* actions_cache.* checks.delete_logs
6001 by-verb codespace: codespaces.create codespaces.destroy codespaces.connect codespaces.restore
    codespaces.*_environment codespaces.attempted_to_create_from_prebuild
    prebuild_configuration.run_triggered sandbox.*
6001 7 codespace: codespaces.export_environment
6001 7 audit_log: *.audit_log_export *.audit_log_git_event_export
6001 7 report: *.security_center_export_* *.connect_usage_metrics_export
    business.enterprise_server_license_download
6001 7 recovery_codes: *.recovery_codes_downloaded *.recovery_codes_printed
    user.two_factor_recovery_codes_downloaded user.two_factor_recovery_codes_printed
6001 2 recovery_codes: *.recovery_codes_viewed user.two_factor_recovery_codes_viewed
6001 1 recovery_codes: *.recovery_codes_generated
6001 6 report: business.import_license_usage
6001 7 migration: migration.*
6001 4 migration: migration.destroy_file
6001 by-verb alert: code_scanning.* secret_scanning_alert.* repository_vulnerability_alert.*
    secret_scanning_closure_request.* dependabot_closure_request.* secret_scanning_push_protection.*
    secret_scanning_push_protection_request.* secret_scanning_scan.* repo.code_scanning_analysis_deleted
6001 3 alert: secret_scanning_alert.revoke
6001 1 alert: secret_scanning_push_protection_request.request
6001 8 alert: secret_scanning_alert.public_leak secret_scanning_alert.report
6001 by-verb advisory: repository_advisory.* advisory_credit.*
6001 8 advisory: repository_advisory.publish repository_advisory.github_broadcast
6001 by-verb sponsorship: sponsors.*
6001 by-verb image: repository_image.*
6001 by-verb content: user_content_edit.*
6001 by-verb knowledge_base: copilot.knowledge_base_*
3004 1 organization: org.create org.recreate org.transform business.upgrade_from_organization
3004 4 organization: org.delete org.async_delete business.remove_organization
3004 3 organization: org.rename org.archive org.unarchive business.add_organization
    org.*_business_invitation org.invite_to_business
3004 5 organization: org.transfer org.transfer_outgoing
3004 1 enterprise: business.create business.create_trial business.restore
3004 4 enterprise: business.delete business.cancel_trial business.expire_trial
3004 3 enterprise: business.rename_slug business.convert_trial business.trial_*
3004 by-verb organization_setting: org.* org_* organization_* auto_approve_personal_access_token_requests.*
    dependabot_* dependency_graph* members_can_* private_repository_forking.*
    private_vulnerability_reporting* secret_scanning.* secret_scanning_new_repos.* issues.*
    organization_projects_change.* repository_projects_change.* repository_visibility_change.*
    restrict_notification_delivery.* team_discussions.* issue_type.*
3004 by-verb enterprise_setting: business.* business_* enterprise.* enterprise_announcement.*
    enterprise_installation.* sso_lockdown.* sso_redirect.*
3004 by-verb role: role.* organization_role.* enterprise_role.* project_base_role.*
    organization_wide_project_base_role.*
3004 by-verb identity_provider: *.enable_saml *.disable_saml *.update_saml_provider_settings
    business.enable_oidc business.disable_oidc business.enable_open_scim business.disable_open_scim
    team_sync_tenant.*
3004 by-verb domain: organization_domain.* enterprise_domain.* pages_protected_domain.* staff.*_domain
    staff.set_domain_token_expiration
3004 by-verb ip_allow_list: ip_allow_list.* ip_allow_list_entry.*
3004 by-verb token_policy: personal_access_token.*
3004 by-verb secret: *.create_actions_secret *.update_actions_secret *.remove_actions_secret
    *.create_integration_secret *.update_integration_secret *.remove_integration_secret
3004 by-verb variable: *.create_actions_variable *.update_actions_variable *.remove_actions_variable
3004 by-verb runner: *.register_self_hosted_runner *.remove_self_hosted_runner
    *.configure_self_hosted_jit_runner *.runner_group_* github_hosted_runner.* custom_hosted_runner.*
    premium_runner.* *.delete_custom_image*
3004 10 runner: *.self_hosted_runner_online
3004 11 runner: *.self_hosted_runner_offline
3004 3 runner: *.self_hosted_runner_updated
3004 by-verb repository_setting: repo.* repository_* environment.* checks.* required_status_check.*
    custom_property_* prebuild_configuration.*
3004 by-verb branch_protection: protected_branch.* repository_ruleset.*
    repository_branch_protection_evaluation.*
3004 by-verb webhook: hook.*
3004 by-verb github_app: integration.*
3004 by-verb oauth_app: oauth_application.*
3004 by-verb ssh_certificate_authority: ssh_certificate_authority.* ssh_certificate_requirement.*
3004 by-verb audit_log_stream: audit_log_streaming.*
3004 2 audit_log_stream: audit_log_streaming.check
3004 by-verb security_configuration: security_configuration* vulnerability_alert_rule.*
3004 by-verb network: network_configuration.*
3004 by-verb copilot: copilot.* mcp_registry.*
3004 by-verb codespaces: codespaces.*
3004 by-verb billing: account.* billing.* billing_customer.* payment_method.*
    metered_billing_configuration.* business.change_seats_plan_type
3004 by-verb marketplace: marketplace_*
3004 other limit: *.members_limit_* *.organizations_limit_* *.enterprise_teams_limit_* repository_limit.*
    team.members_limit_warning team.organization_assignments_limit_* user.creation_rate_limit_exceeded
    org.rate_limited_invites org.billing_signup_error
3004 2 credential: staff.dependabot_debug_credentials_generated
6003 other: api.request
"""

_VERBS: Final = """
1 create created add added register registered generate generated regenerate invite open opened link linked
1 grant granted publish published start started provision submit submitted queued connect join joined sign
1 requested upload
2 warning reached check checks
4 delete deleted destroy destroyed remove removed revoke revoked unlink unlinked clear cleared withdraw
4 withdrawn delist retire unset
5 move moved
8 enable enabled unlock allowed
9 disable disabled lock
12 suspend
13 unsuspend
3 update set change
"""
_CANONICAL: Final[Mapping[str, int]] = {
    word: int(line.split()[0]) for line in _VERBS.strip().splitlines() for word in line.split()[1:]
}
_ONLY_ENTITIES: Final = frozenset({5, 8, 9, 12, 13})
"""Activities of Entity Management; elsewhere the same is an update."""


def activity_of(class_uid: int, name: str) -> int:
    """Derive the activity from an action's words: its first, its last, any; else it is an update."""
    words = re.split(r"[_.]", name.partition(".")[2] or name)
    last = name.rpartition(".")[2].split("_")
    for word in (last[0], last[-1], *last, *words):
        if number := _CANONICAL.get(word):
            return 3 if class_uid != 3004 and number in _ONLY_ENTITIES else number
    return 3


def parsed(rows: str) -> Iterator[Row]:
    """Read rows: `class activity kind: patterns`, which go on in indented lines."""
    for line in rows.strip().replace("\n    ", " ").splitlines():
        head, _, patterns = line.partition(": ")
        class_uid, activity, *kind = head.split()
        number = OTHER if activity == "other" else None if activity == "by-verb" else int(activity)
        yield int(class_uid), number, " ".join(kind), tuple(patterns.split())


class Table:
    """Rows, looked up by the longest pattern that fits."""

    def __init__(self, rows: str) -> None:
        self._exact: dict[str, Row] = {}
        patterns: list[tuple[int, re.Pattern[str], Row]] = []
        for row in parsed(rows):
            for word in row[3]:
                if "*" in word:
                    fits = re.compile(re.escape(word).replace(r"\*", ".*"))
                    patterns.append((len(word), fits, row))
                else:
                    self._exact[word] = row
        self._patterns = sorted(patterns, key=lambda one: -one[0])
        self.rule = lru_cache(maxsize=4096)(self._rule)

    def _rule(self, name: str) -> Rule:
        row = self._exact.get(name) or next(
            (r for _, fits, r in self._patterns if fits.fullmatch(name)), None
        )
        if row is None:
            number = activity_of(6003, name)
            return Rule(6003, number if number <= 4 else OTHER, "", known=False)
        class_uid, activity, kind, _ = row
        return Rule(class_uid, activity_of(class_uid, name) if activity is None else activity, kind)


AUDIT: Final = Table(_ROWS)
FAILED: Final = re.compile(
    r"(^|[_.])(failed|failure|rejected|unsatisfied|exceeded|error|violation|rate_limited)([_.]|$)"
)
"""Words of actions that tell of something that did not work; the log has no outcome of its own."""
