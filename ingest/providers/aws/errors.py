"""What AWS's errors mean: decided by their code (the table is `errors.toml`), hardly ever by their status.

Throttling is mostly HTTP 400 with a code, and there is no Retry-After. S3 says little more than "Access
Denied"; the other services name the action that is missing.
"""

import re
import tomllib
from pathlib import Path
from typing import Final

import aiohttp
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from ingest.provider import (
    Changed,
    Json,
    Misconfigured,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SignInAgain,
    SourceError,
    Unscannable,
)

_TABLE: Final[Json] = tomllib.loads(Path(__file__).with_name("errors.toml").read_text())
_S3_ACTIONS: Final[dict[str, str]] = _TABLE.pop("s3_actions")
_NAMES: Final[dict[str, str]] = {code: name for name, one in _TABLE.items() for code in one["codes"]}
_KINDS: Final = {
    kind.__name__: kind
    for kind in (Changed, Misconfigured, Missing, Refused, Retry, SignInAgain, Unscannable)
}
_VERDICTS: Final = {
    name: (_KINDS[one["becomes"]], str(one["says"])) for name, one in _TABLE.items() if name != "denied"
}
_ACTION: Final = re.compile(r"not authorized to perform: ([\w-]+:[\w*]+)")
_DENY: Final = re.compile(r"explicit deny in an? ([\w -]+?)(?: policy|$|[.,:])")


class Denied(NotAllowed):
    """A call that needs a permission we were not given; `action` is its IAM name."""

    def __init__(self, action: str, why: str = "") -> None:
        super().__init__(f"{action} is not allowed{why}: grant it to Sluice's role or user in IAM")
        self.action = action


def translate(error: Exception) -> Exception | None:
    """Tell what an error of the SDK means to the core; None: it is not AWS's."""
    if isinstance(error, sdk.ClientError):
        return _answered(error)
    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError):
        return Misconfigured(
            "no AWS credentials: set access_key_id and secret_access_key, or run where AWS provides them"
        )
    if isinstance(error, sdk.ParamValidationError):
        return Refused("AWS's SDK refuses the request as it is: a name or setting is too short, long or odd")
    if isinstance(error, SourceError | sdk.UnknownServiceError):
        return None
    if isinstance(
        error, sdk.BotoCoreError | ResponseParserError | aiohttp.ClientError | TimeoutError | ConnectionError
    ):
        return Retry(f"AWS could not be reached or answered in part ({type(error).__name__})")
    return None


def _answered(error: sdk.ClientError) -> Exception:
    said, operation = error.response.get("Error", {}), error.operation_name
    code, text = str(said.get("Code", "")), str(said.get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    meaning = _NAMES.get(code, "fault" if status >= 500 else "refused")
    if status in (429, 509):
        meaning = "throttled"
    elif meaning == "bad_key" and ("expired" in text or "not yet current" in text):
        meaning = "skewed"
    elif meaning == "denied":
        return _denied(operation, text)
    kind, says = _VERDICTS[meaning]
    return kind(says.format(code=code or status, operation=operation))


def _denied(operation: str, text: str) -> Denied:
    found, because = _ACTION.search(text), _DENY.search(text)
    why = f" (an explicit deny in a {because[1]} policy)" if because else ""
    return Denied(found[1] if found else f"s3:{_S3_ACTIONS.get(operation, operation)}", why)
