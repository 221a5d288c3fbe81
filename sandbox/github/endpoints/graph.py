"""The GraphQL endpoint: HTTP 200 with `errors` for nearly everything that goes wrong."""

from sandbox.github import shapes
from sandbox.github.answers import Answer, Json, Refused
from sandbox.github.call import Call, route
from sandbox.github.graphql import Fault, Run, Thing, check
from sandbox.github.query import Unreadable, read
from sandbox.github.tenant import GitHubTenant


@route("POST", "/graphql", bucket="graphql")
def graph(tenant: GitHubTenant, call: Call) -> Answer:
    """Answer a query."""
    asked = call.given()
    text, variables = asked.get("query"), asked.get("variables") or {}
    if not isinstance(text, str) or not text.strip() or not isinstance(variables, dict):
        raise Refused(400, "A query attribute must be specified and must be a string.")
    now = tenant.clock.now()
    try:
        fields = read(text, variables)
        requests, nodes = check(fields)
    except Unreadable as error:
        return Answer({"errors": [{"message": str(error), "locations": [{"line": 1, "column": 1}]}]})
    except Fault as fault:
        return Answer(
            {"errors": [{"type": fault.kind, "extensions": {"code": fault.kind}, "message": fault.message}]}
        )
    cost = max(1, round(requests / 100))
    try:
        window = tenant.limits.charge(call.caller, "graphql", now, cost)
    except Refused as refused:
        limited = {"type": "RATE_LIMITED", "message": refused.message}
        return Answer({"errors": [limited]}, headers=refused.headers)
    rate: Json = {
        "cost": cost,
        "limit": window.limit,
        "nodeCount": nodes,
        "remaining": window.limit - window.used,
        "resetAt": shapes.moment(window.reset),
        "used": window.used,
    }
    run = Run(tenant, call, rate)
    body: Json = {"data": run.select(Thing("Query"), fields, [])}
    if run.errors:
        body["errors"] = run.errors
    return Answer(body, headers=window.headers("graphql"))
