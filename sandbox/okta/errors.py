"""Refusals as the API words them (data/error-codes.json of Okta's developer documentation)."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from uuid import uuid4

from aiohttp import web

Json: TypeAlias = Any
SUMMARY: Final[Mapping[str, tuple[int, str]]] = {
    "E0000001": (400, "Api validation failed: {0}"),
    "E0000003": (400, "The request body was not well-formed."),
    "E0000005": (403, "Invalid session"),
    "E0000006": (403, "You do not have permission to perform the requested action"),
    "E0000007": (404, "Not found: {0}"),
    "E0000008": (404, "The requested path was not found"),
    "E0000009": (500, "Internal Server Error"),
    "E0000011": (401, "Invalid token provided"),
    "E0000016": (403, "Activation failed because the user is already active"),
    "E0000017": (403, "Password reset failed"),
    "E0000021": (
        400,
        "Bad request.  Accept and/or Content-Type headers likely do not match supported values.",
    ),
    "E0000022": (405, "The endpoint does not support the provided HTTP method"),
    "E0000028": (400, "The request is missing a required parameter."),
    "E0000031": (400, "{0}"),
    "E0000032": (403, "Unlock is not allowed for this user."),
    "E0000033": (400, "Bad request. Can't specify a search query and filter in the same request."),
    "E0000038": (403, "This operation is not allowed in the user's current status."),
    "E0000047": (429, "API call exceeded rate limit due to too many requests."),
    "E0000053": (400, "{0}"),
}


class Refused(Exception):
    """The call is refused; `status` and `summary` default to what is documented for the code."""

    def __init__(
        self,
        code: str,
        about: str = "",
        *,
        causes: tuple[str, ...] = (),
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        known, text = SUMMARY[code]
        self.code, self.summary = code, text.format(about)
        self.status, self.causes, self.headers = status or known, causes, headers or {}
        super().__init__(f"{code}: {self.summary}")

    def response(self) -> web.Response:
        """The answer, in the shape that all errors have."""
        return web.json_response(
            {
                "errorCode": self.code,
                "errorSummary": self.summary,
                "errorLink": self.code,
                "errorId": f"oae{uuid4().hex[:22]}",
                "errorCauses": [{"errorSummary": text} for text in self.causes],
            },
            status=self.status,
            headers=self.headers,
        )


class Challenged(Exception):
    """A token that does not suffice: an empty body, the reason in WWW-Authenticate (RFC 6750, RFC 9449)."""

    def __init__(
        self, status: int, error: str, about: str, *, scheme: str = "Bearer", nonce: str = "", **more: str
    ) -> None:
        super().__init__(f"{error}: {about}")
        facts = {**more, "error": error, "error_description": about}
        self.status = status
        self.headers = {"WWW-Authenticate": f"{scheme} " + ", ".join(f'{k}="{v}"' for k, v in facts.items())}
        if nonce:
            self.headers["dpop-nonce"] = nonce

    def response(self) -> web.Response:
        """The answer."""
        return web.Response(status=self.status, headers=self.headers)


class OAuthRefused(Exception):
    """An OAuth endpoint's refusal (RFC 6749 5.2), in its own shape of body."""

    def __init__(self, error: str, about: str, status: int = 400, nonce: str = "") -> None:
        super().__init__(f"{error}: {about}")
        self.status, self.body = status, {"error": error, "error_description": about}
        self.headers = {"dpop-nonce": nonce} if nonce else {}

    def response(self) -> web.Response:
        """The answer."""
        return web.json_response(self.body, status=self.status, headers=self.headers)


def missing(kind: str, key: str) -> Refused:
    """A thing that is not there."""
    return Refused("E0000007", f"Resource not found: {key} ({kind})")


def invalid(field: str, why: str = "") -> Refused:
    """A field or parameter that can't be taken."""
    return Refused("E0000001", field, causes=(f"{field}: {why}" if why else field,))
