"""Answers in each service's own dialect, for what is refused before moto sees it.

Protocol families (AWS fact: botocore's service models): IAM and STS answer XML in an ErrorResponse, S3 and
S3 Control a bare XML Error, the JSON services a `__type`.
"""

import json
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

XML = ("s3", "s3control")
QUERY = ("iam", "sts", "sns")


@dataclass(slots=True)
class Answer:
    """A whole HTTP answer; `promised` is a length that the body will not reach."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


class Refused(Exception):
    """A call that AWS would turn down; carries the error as AWS names it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status

    def answer(self, service: str) -> Answer:
        """The error as the given service words it."""
        code, message = escape(self.code), escape(self.message)
        if service in XML:
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        elif service in QUERY:
            fault = "Receiver" if self.status >= 500 else "Sender"
            body = (
                f"<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                "<RequestId>4442587f-b7d0-a2f9-0000-000000000000</RequestId></ErrorResponse>"
            )
        else:
            text = json.dumps({"__type": self.code, "message": self.message})
            return Answer(self.status, text.encode(), {"Content-Type": "application/x-amz-json-1.1"})
        declared = '<?xml version="1.0" encoding="UTF-8"?>\n' + body
        return Answer(self.status, declared.encode(), {"Content-Type": "text/xml"})


_THROTTLES = {
    "iam": ("Throttling", 400),
    "sts": ("Throttling", 400),
    "s3": ("SlowDown", 503),
    "s3control": ("SlowDown", 503),
    "sqs": ("RequestThrottled", 400),
    "organizations": ("TooManyRequestsException", 400),
}


def throttled(service: str) -> Refused:
    """What the service says to a caller who is too fast; mostly HTTP 400 with a code, S3 503 SlowDown."""
    code, status = _THROTTLES.get(service, ("ThrottlingException", 400))
    text = "Please reduce your request rate." if code == "SlowDown" else "Rate exceeded"
    return Refused(code, text, status)


def denied(service: str, arn: str, action: str) -> Refused:
    """What the service says to a caller without the permission."""
    if service in XML:
        return Refused("AccessDenied", "Access Denied", 403)
    message = f"User: {arn} is not authorized to perform: {action}"
    if service in QUERY:
        return Refused("AccessDenied", message, 403)
    return Refused("AccessDeniedException", message)


def unknown_key(service: str) -> Refused:
    """What the service says to an access key that does not exist or is inactive."""
    if service in XML:
        return Refused(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403
        )
    message = "The security token included in the request is invalid."
    if service in QUERY:
        return Refused("InvalidClientTokenId", message, 403)
    return Refused("UnrecognizedClientException", message)


def wrong_signature(service: str) -> Refused:
    """What the service says when the signature was not made with the key's secret."""
    message = "The request signature we calculated does not match the signature you provided."
    if service in XML or service in QUERY:
        return Refused("SignatureDoesNotMatch", message, 403)
    return Refused("InvalidSignatureException", message)


def skewed(service: str) -> Refused:
    """What the service says to a request dated too far from its own clock."""
    if service in XML:
        return Refused(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            403,
        )
    if service in QUERY:
        return Refused("SignatureDoesNotMatch", "Signature expired", 403)
    return Refused("InvalidSignatureException", "Signature expired")


def expired(service: str) -> Refused:
    """What the service says to temporary credentials whose time is over."""
    message = "The security token included in the request is expired"
    if service in XML:
        return Refused("ExpiredToken", "The provided token has expired.")
    if service in QUERY:
        return Refused("ExpiredToken", message, 403)
    return Refused("ExpiredTokenException", message)


def unsigned(service: str) -> Refused:
    """What the service says to a request without a signature."""
    if service in XML:
        return Refused("AccessDenied", "Access Denied", 403)
    code = "MissingAuthenticationToken" if service in QUERY else "MissingAuthenticationTokenException"
    return Refused(code, "Request is missing Authentication Token", 403 if service in QUERY else 400)
