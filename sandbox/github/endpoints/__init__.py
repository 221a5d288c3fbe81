"""The REST endpoints, a file for each part of the organisation; importing this registers them all."""

from sandbox.github.endpoints import (
    app,
    audit,
    credentials,
    enterprise,
    grants,
    graph,
    hooks,
    installations,
    members,
    meta,
    outsiders,
    repositories,
    roles,
    scim,
    teams,
)

__all__ = [
    "app",
    "audit",
    "credentials",
    "enterprise",
    "grants",
    "graph",
    "hooks",
    "installations",
    "members",
    "meta",
    "outsiders",
    "repositories",
    "roles",
    "scim",
    "teams",
]
