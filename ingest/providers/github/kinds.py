"""What each webhook kind means, which are subscribed to, and which of them the audit log tells of too.

A delivery's kind is its event and, where the payload has one, its action: `member.added`. Deliveries and the
audit log share no id, so a kind that the log has is only a sign to read it. Source: "Webhook events and
payloads".
"""

import re
from typing import Final

from ingest.providers.github.table import Table

_ROWS: Final = """
3001 1: organization.member_added
3001 6: organization.member_removed
3001 other: organization.member_invited
3001 9: org_block.blocked
3001 12: org_block.unblocked
3006 3: membership.added
3006 4: membership.removed
3006 6: team.created
3006 5: team.deleted
3006 1: team.added_to_repository team_add
3006 2: team.removed_from_repository
3006 other: team.*
3005 1 repository: member.added member.edited
3005 2 repository: member.removed
3005 1 github_app: installation.created installation.unsuspend installation.new_permissions_accepted
    installation_repositories.added
3005 2 github_app: installation.deleted installation.suspend installation_repositories.removed
    github_app_authorization.revoked
3005 1 personal_access_token: personal_access_token_request.approved
3005 other personal_access_token: personal_access_token_request.*
3005 1 key: deploy_key.created
3005 2 key: deploy_key.deleted
3004 by-verb organization: organization.* installation_target.*
3004 4 webhook: meta.deleted
3004 2 webhook: ping
3004 by-verb branch_protection: branch_protection_rule.* branch_protection_configuration.*
    repository_ruleset.*
3004 by-verb repository_setting: custom_property* security_and_analysis deployment_protection_rule.*
3004 by-verb organization_setting: organization_custom_property*
3004 by-verb exemption_request: exemption_request_push_ruleset.*
6001 3 repository: push repository.* repository_import
6001 1 repository: repository.created fork
6001 4 repository: repository.deleted
6001 8 repository: public repository.publicized
6001 1 git_ref: create
6001 4 git_ref: delete
6001 by-verb issue: issues.* label.* milestone.*
6001 3 issue: issue_dependencies.* sub_issues.*
6001 by-verb comment: issue_comment.* commit_comment.* discussion_comment.*
6001 by-verb discussion: discussion.*
6001 by-verb pull_request: pull_request* merge_group.*
6001 3 pull_request: pull_request.review_requested merge_group.checks_requested
6001 by-verb check: check_run.* check_suite.* status
6001 3 check: check_run.requested_action check_run.rerequested check_suite.rerequested
6001 by-verb deployment: deployment.* deployment_status.* deployment_review.*
6001 by-verb workflow: workflow_run.* workflow_job.*
6001 1 workflow: workflow_dispatch repository_dispatch*
6001 3 page: gollum page_build
6001 by-verb package: package.* registry_package.*
6001 by-verb release: release.*
6001 3 release: release.unpublished
6001 by-verb project: project.* project_card.* project_column.* projects_v2*
6001 by-verb alert: code_scanning_alert.* dependabot_alert.* repository_vulnerability_alert.*
    secret_scanning_alert.* secret_scanning_alert_location.* secret_scanning_scan.*
    bypass_request_secret_scanning.* dismissal_request_*
6001 8 alert: secret_scanning_alert.publicly_leaked
6001 by-verb advisory: repository_advisory.* security_advisory.*
6001 8 advisory: repository_advisory.published security_advisory.published
6001 by-verb star: star.*
6001 1 star: watch.started
6001 by-verb sponsorship: sponsorship.*
6001 by-verb marketplace: marketplace_purchase.*
"""

WEBHOOKS: Final = Table(_ROWS)

EVENTS: Final = (
    "branch_protection_rule", "commit_comment", "create", "delete", "deploy_key", "discussion",
    "discussion_comment", "fork", "gollum", "issue_comment", "issues", "member", "membership", "meta",
    "org_block", "organization", "package", "personal_access_token_request", "public", "pull_request",
    "pull_request_review", "pull_request_review_comment", "push", "release", "repository",
    "repository_advisory", "repository_ruleset", "secret_scanning_alert", "secret_scanning_alert_location",
    "security_and_analysis", "team", "team_add",
)  # fmt: skip
"""What the organization's webhook is asked for: people, access, settings, content; not what machines do."""

_LOGGED: Final = """
branch_protection_* bypass_request_secret_scanning.* code_scanning_alert.* custom_property*
organization_custom_property* dependabot_alert.* repository_vulnerability_alert.* deploy_key.*
discussion.deleted discussion_comment.deleted discussion_comment.edited dismissal_request_*
github_app_authorization.* installation.* installation_repositories.* issue_comment.deleted
issue_comment.edited issue_dependencies.* sub_issues.* issues.deleted issues.pinned issues.unpinned
issues.transferred member.* membership.* meta.* org_block.* organization.* package.*
personal_access_token_request.* project.created project.edited project.closed project.reopened
project.deleted projects_v2.* public pull_request.opened pull_request.closed pull_request.reopened
pull_request.converted_to_draft pull_request.ready_for_review pull_request.review_request*
pull_request_review.submitted pull_request_review.dismissed pull_request_review_comment.* push repository.*
repository_advisory.* repository_ruleset.* secret_scanning_alert.* secret_scanning_scan.*
security_and_analysis team.* team_add workflow_run.requested workflow_run.completed
"""
_FITS: Final = re.compile("|".join(re.escape(one).replace(r"\*", ".*") for one in _LOGGED.split()))


def logged(kind: str) -> bool:
    """Tell whether the audit log has what a delivery of this kind tells."""
    return _FITS.fullmatch(kind) is not None


_ANNOUNCED: Final = """
org.add_member org.remove_member org.invite_member org.block_user org.unblock_user
team.create team.destroy team.add_member team.remove_member team.add_repository team.remove_repository
repo.create repo.destroy repo.access repo.rename repo.archived repo.unarchived repo.add_member
repo.remove_member protected_branch.create protected_branch.destroy repository_ruleset.create
repository_ruleset.update repository_ruleset.destroy pull_request.create pull_request.close
pull_request.merge pull_request.reopen issue_comment.update issue_comment.destroy
personal_access_token.request_created
"""
ANNOUNCED: Final = frozenset(_ANNOUNCED.split())
"""Actions that a delivery surely goes with, so that a poll which finds them alone accuses the webhook."""
