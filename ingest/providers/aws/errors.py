"""What AWS's errors mean: decided by the error's code, hardly ever by its status.

Throttling is mostly HTTP 400 with a code, and there is no Retry-After. S3 says little more than "Access
Denied"; the other services name the action that is missing. Sources: the botocore models of the services
used; "Error responses" of the S3 API reference; "Common errors" of the IAM API reference.
"""

import re

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    UnknownServiceError,
)
from botocore.parsers import ResponseParserError

from ingest.provider import (
    Changed,
    Misconfigured,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SignInAgain,
    SourceError,
    Unscannable,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


THROTTLED = _words(
    "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException "
    "TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded SlowDown OverLimit "
    "KMS.ThrottlingException PriorRequestNotComplete 429 509"
)
PASSING = _words(
    "InternalError InternalFailure InternalServerError ServiceUnavailable ServiceFailure RequestTimeout "
    "RequestTimeoutException OperationAborted EntityTemporarilyUnmodifiable ConcurrentModification "
    "ConcurrentModificationException ReportInProgress ReportNotPresent ReportExpired"
)
EXPIRED = _words("ExpiredToken ExpiredTokenException TokenRefreshRequired")
DENIED = _words(
    "AccessDenied AccessDeniedException UnauthorizedOperation AuthorizationError UnauthorizedAccess "
    "AllAccessDisabled 403"
)
BAD_KEY = _words(
    "InvalidClientTokenId UnrecognizedClientException SignatureDoesNotMatch InvalidSignatureException "
    "AuthFailure InvalidAccessKeyId IncompleteSignature MissingAuthenticationToken InvalidToken "
    "MissingAuthenticationTokenException"
)
SKEWED = _words("RequestTimeTooSkewed RequestExpired RequestInTheFuture")
MISSING = _words(
    "NoSuchKey NoSuchBucket NoSuchVersion NoSuchEntity NoSuchUpload NotFound 404 ResourceNotFoundException"
)
CHANGED = _words("PreconditionFailed ConditionalRequestConflict 412")
NO_QUEUE = _words("AWS.SimpleQueueService.NonExistentQueue QueueDoesNotExist")

_ACTION = re.compile(r"not authorized to perform: ([\w-]+:[\w*]+)")
_DENY = re.compile(r"explicit deny in an? ([\w -]+?)(?: policy|$|[.,:])")
_S3_ACTIONS = {
    "HeadObject": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListBuckets": "ListAllMyBuckets",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "CopyObject": "PutObject",
    "UploadPartCopy": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
}


class Denied(NotAllowed):
    """A call that needs a permission we were not given; `action` is its IAM name."""

    def __init__(self, action: str, why: str = "") -> None:
        super().__init__(f"{action} is not allowed{why}: grant it to Sluice's role or user in IAM")
        self.action = action


def code(error: Exception) -> str:
    """Name AWS's error code; empty when the error is none of AWS's."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def translate(error: Exception) -> Exception | None:
    """Tell what an error of the SDK means to the core; None: it is not AWS's."""
    if isinstance(error, ClientError):
        return _answered(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Misconfigured(
            "no AWS credentials: set access_key_id and secret_access_key, or run where AWS provides them"
        )
    if isinstance(error, ParamValidationError):
        return Refused("AWS's SDK refuses the request as it is: a name or setting is too short, long or odd")
    if isinstance(error, SourceError | UnknownServiceError):
        return None
    if isinstance(
        error, BotoCoreError | ResponseParserError | aiohttp.ClientError | TimeoutError | ConnectionError
    ):
        return Retry(f"AWS could not be reached or answered in part ({type(error).__name__})")
    return None


def _answered(error: ClientError) -> Exception:
    name, status = code(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = str(error.response.get("Error", {}).get("Message", ""))
    if name in THROTTLED or status in (429, 509):
        return Retry(f"AWS asks for patience ({name}, {error.operation_name})")
    if name in SKEWED or (name in BAD_KEY and ("expired" in text or "not yet current" in text)):
        return Misconfigured("AWS refuses our requests' time: set this machine's clock (NTP)")
    if name in EXPIRED:
        return SignInAgain("the temporary AWS credentials have expired")
    if name in DENIED:
        return _denied(error, text)
    if name in BAD_KEY:
        return Misconfigured(
            f"AWS does not accept the credentials ({name}): check that the access key exists, is active and "
            "its secret is right, and that the region is enabled for the account"
        )
    return _state(name, error.operation_name) or _fault(name, status, error.operation_name)


def _denied(error: ClientError, text: str) -> Denied:
    found = _ACTION.search(text)
    because = _DENY.search(text)
    why = f" (an explicit deny in a {because[1]} policy)" if because else ""
    if found:
        return Denied(found[1], why)
    name = error.operation_name
    # Only S3 (and nothing we call besides) leaves the action out of its message.
    return Denied(f"s3:{_S3_ACTIONS.get(name, name)}", why)


def _state(name: str, operation: str) -> Exception | None:
    if name in MISSING:
        return Missing(f"{operation}: it does not exist (any more)")
    if name in CHANGED:
        return Changed(f"{operation}: it is another version by now")
    if name == "InvalidObjectState":
        return Unscannable("archived")
    if name in NO_QUEUE:
        return Misconfigured("the queue of queue_url does not exist: correct it, or create the queue")
    if name == "RegionDisabledException":
        return Misconfigured("AWS STS is not active in this region: activate it or take the region out")
    return None


def _fault(name: str, status: int, operation: str) -> Exception:
    if status >= 500 or name in PASSING:
        return Retry(f"AWS has a fault of its own ({name or status}, {operation})")
    return Refused(f"AWS declines {operation} ({name or status})")
