"""What a status means where the provider's dialect has no opinion.

2xx                 success, unless it is HTML, or not the JSON it says it is: then Retry
401                 SignInAgain: one fresh token, one repetition, then Misconfigured
402, 403            NotAllowed
404                 Missing
410                 CursorLost
412                 Changed
408, 425, 429, 5xx  Retry
other 4xx, 3xx      Refused: the request as it is will not be served
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ingest.apis import Json, Reply
from ingest.errors import (
    Changed,
    CursorLost,
    Missing,
    NotAllowed,
    Refused,
    Retry,
    SignInAgain,
    SourceError,
)


def unusable(what: str, method: str, accept: str, reply: Reply, *, broken: bool) -> Exception | None:
    """Say what is wrong with a success; None: nothing."""
    media_type = reply.headers.get("content-type", "")
    if media_type.startswith(("text/html", "application/xhtml")) and "html" not in accept:
        return Retry(f"{what}: an HTML page came instead of data")
    if broken:
        return Retry(f"{what}: the JSON that came is broken")
    if not reply.body and method == "GET" and reply.status == 200 and "json" in media_type:
        return Retry(f"{what}: the reply is empty")
    return None


def by_status(what: str, reply: Reply) -> SourceError:
    """Make the error of a status that is no success."""
    said = f"{what}: {reply.status} {_code(reply.json)}".rstrip()
    kind = _KINDS.get(reply.status, Retry if reply.status >= 500 else Refused)
    return kind(said)


_KINDS: Final[Mapping[int, type[SourceError]]] = MappingProxyType(
    {
        401: SignInAgain,
        402: NotAllowed,
        403: NotAllowed,
        404: Missing,
        408: Retry,
        410: CursorLost,
        412: Changed,
        425: Retry,
        429: Retry,
    }
)


def _code(json: Json) -> str:
    """Find the provider's word for an error; only a short word is one, not a sentence."""
    for _ in range(2):
        if not isinstance(json, dict):
            break
        for name in ("errorCode", "code", "error_code", "reason", "status", "error"):
            word = json.get(name)
            if isinstance(word, str) and re.fullmatch(r"[A-Za-z][\w.-]{1,48}", word):
                return word
        json = json.get("error")
    return ""
