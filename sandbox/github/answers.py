"""What the server says: answers and refusals in GitHub's words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any
DOCS = "https://docs.github.com/rest"
SECONDARY = (
    "https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api"
    "#about-secondary-rate-limits"
)


@dataclass(slots=True)
class Answer:
    """A reply; `body` None means none at all."""

    body: Json = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    media: str = "application/json"


class Refused(Exception):
    """A request that is turned down: status, message, further members of the body, and headers."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, **more: Json
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.more = status, message, dict(headers or {}), more

    def answer(self) -> Answer:
        """The same as a reply."""
        body = {
            "message": self.message,
            "documentation_url": DOCS,
            "status": str(self.status),
            **self.more,
        }
        return Answer(body, self.status, self.headers)


def missing() -> Refused:
    """Absent, or hidden from who asks: GitHub does not tell which."""
    return Refused(404, "Not Found")


def unknown_caller() -> Refused:
    """A token that is wrong, revoked or over."""
    return Refused(401, "Bad credentials")


def anonymous() -> Refused:
    """No token where one is needed."""
    return Refused(401, "Requires authentication")


def invalid(resource: str, name: str, code: str = "invalid", message: str = "") -> Refused:
    """A parameter that is wrong: 422 with the field named."""
    told: Json = {"resource": resource, "field": name, "code": code}
    if message:
        told["message"] = message
    return Refused(422, "Validation Failed", errors=[told])


def secondary(seconds: int, status: int = 403) -> Refused:
    """Too fast for the limits that no header shows."""
    return Refused(
        status,
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        {"Retry-After": str(seconds)},
        documentation_url=SECONDARY,
    )
