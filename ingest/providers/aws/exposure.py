"""Who can really see a bucket or an object: ACL, policy, public access block and ownership taken together.

Pure. What S3 would do, not what a single document says: ACLs count for nothing where the bucket's owner
enforces ownership, public grants for nothing behind IgnorePublicAcls, and RestrictPublicBuckets cuts all
outside the account off a bucket whose policy is public. Two words are judgements: accounts of one's own
organization and named networks are internal; a fixed public address range is external, its holder unknown.

Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage" (the meaning of "public") and
"Controlling ownership of objects".
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import Final, NamedTuple

from ingest.provider import Json
from schemas.exposure import ORDER, Exposure

FLAGS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
"""The four switches of a public access block; the two Block… ones only refuse future changes."""
_GROUPS: Final = "http://acs.amazonaws.com/groups/"
_PUBLIC_GROUPS: Final = (f"{_GROUPS}global/AllUsers", f"{_GROUPS}global/AuthenticatedUsers")
_READS: Final = ("s3:GetObject", "s3:GetObjectVersion")
_CONDITIONS: Final[Json] = tomllib.loads(Path(__file__).with_name("exposure.toml").read_text())
"""Which operators and keys of conditions limit who is let in, and to what."""

Finding = tuple[Exposure, str]


class Seen(NamedTuple):
    """The widest word and what it is owed to, widest first."""

    word: Exposure
    reasons: tuple[str, ...]


def bucket_exposure(bucket: Mapping[str, Json], family: frozenset[str] = frozenset()) -> Seen:
    """Judge a bucket record of `files.read_bucket`; `family` holds the accounts and organizations of ours."""
    found = list(_by_policy(bucket, family, None))
    if bucket.get("policy_public") is True and not _walled(bucket, "RestrictPublicBuckets"):
        found.append(("public", "S3 itself calls the bucket policy public"))
    return _widest([*found, *_by_acl(bucket, bucket.get("acl"), "bucket ACL")])


def object_exposure(
    bucket: Mapping[str, Json], key: str, acl: Json, family: frozenset[str] = frozenset()
) -> Seen:
    """Judge one object: a bucket's ACL lists keys but opens no object, so only the object's own counts."""
    found = [*_by_policy(bucket, family, key), *_by_acl(bucket, acl, "object ACL")]
    owner = ((acl or {}).get("Owner") or {}).get("ID")
    if owner and bucket.get("owner") and owner != bucket["owner"] and _acls_count(bucket):
        found.append(("external", "owned by another account"))
    return _widest(found)


def acl_is_public(acl: Json) -> bool:
    """Tell whether an ACL has a grant to everyone or to every AWS customer."""
    return any(_grantee(grant, "")[0] == "public" for grant in (acl or {}).get("Grants") or ())


def public_statements(policy: Json) -> list[int]:
    """List the positions of the statements that let in the public."""
    return [
        index
        for index, statement in enumerate(_statements(policy))
        if any(word == "public" for word, _ in _statement(statement, "", frozenset()))
    ]


def _widest(found: Iterable[Finding]) -> Seen:
    ordered = sorted(set(found), key=lambda one: (-ORDER.index(one[0]), one[1]))
    words = [word for word, _ in ordered]
    return Seen(words[0] if words else "private", tuple(why for word, why in ordered if word != "private"))


def _walled(bucket: Mapping[str, Json], flag: str) -> bool:
    """Take the bucket's and the account's block together; one that could not be read counts as off."""
    return any((bucket.get(name) or {}).get(flag) is True for name in ("block", "account_block"))


def _acls_count(bucket: Mapping[str, Json]) -> bool:
    return bucket.get("ownership") != "BucketOwnerEnforced"


def _by_acl(bucket: Mapping[str, Json], acl: Json, where: str) -> Iterator[Finding]:
    if not _acls_count(bucket):
        return
    owner = str(bucket.get("owner") or ((acl or {}).get("Owner") or {}).get("ID") or "")
    for grant in (acl or {}).get("Grants") or ():
        word, who = _grantee(grant, owner)
        if word == "public" and _walled(bucket, "IgnorePublicAcls"):
            continue
        yield word, f"{where}: {grant.get('Permission', 'unknown')} for {who}"


def _grantee(grant: Json, owner: str) -> Finding:
    who = grant.get("Grantee") or {}
    uri = who.get("URI") or ""
    if uri:
        word: Exposure = "public" if uri in _PUBLIC_GROUPS else "internal"
        return word, uri.rpartition("/")[2]
    if owner and who.get("ID") == owner:
        return "private", "the owner"
    return "external", f"canonical user {who['ID'][:12]}…" if who.get("ID") else "an account by email"


def _by_policy(bucket: Mapping[str, Json], family: frozenset[str], key: str | None) -> Iterator[Finding]:
    """Judge a policy for the bucket (`key` None: any action counts) or for reading one object."""
    policy = bucket.get("policy")
    said_public = bucket.get("policy_public")
    public = bool(public_statements(policy)) if said_public is None else bool(said_public)
    if public and _walled(bucket, "RestrictPublicBuckets"):
        return
    statements = _statements(policy)
    if any(_denies_all(one, bucket, key) for one in statements):
        return
    for one in statements:
        if key is not None and not (
            _covers(one, "Action", _READS) and _covers(one, "Resource", _arns(bucket, key))
        ):
            continue
        for word, why in _statement(one, str(bucket.get("account") or ""), family):
            if word == "public" and said_public is False:
                yield "external", f"bucket policy: {why}, which S3 does not call public"
            else:
                yield word, f"bucket policy: {why}"


def _statement(one: Json, account: str, family: frozenset[str]) -> Iterator[Finding]:
    if one.get("Effect") != "Allow":
        return
    if "NotPrincipal" in one:
        yield _limited(one, account, family, "everyone but some")
        return
    principal = one.get("Principal")
    groups = principal.items() if isinstance(principal, dict) else [("AWS", principal)]
    for kind, names in groups:
        for name in map(str, _listed(names)):
            if name == "*":
                yield _limited(one, account, family, "everyone")
            elif kind == "Service":
                word: Exposure = "external" if name.startswith("cloudfront.") else "internal"
                yield word, f"the service {name}"
            elif kind == "AWS":
                yield _account(name, account, family)
            else:
                yield "external", f"{kind} {name[:60]}"


def _account(name: str, account: str, family: frozenset[str]) -> Finding:
    whose = _holder(name)
    if account and whose == account:
        return "private", "the own account"
    return ("internal" if whose in family else "external"), f"account {whose[:60]}"


def _holder(name: str) -> str:
    """Name the account of an ARN (its fifth part); anything else stands for itself."""
    parts = name.split(":")
    return parts[4] if len(parts) > 5 else name


def _limited(one: Json, account: str, family: frozenset[str], who: str) -> Finding:
    """Judge "*" by its conditions: all must hold, so the narrowest decides."""
    narrowest: Finding = ("public", who)
    for operator, tests in _object(one.get("Condition")).items():
        if operator.lower().removeprefix("foranyvalue:") not in _CONDITIONS["operators"]:
            continue
        for key, values in _object(tests).items():
            word, why = _condition(key.lower(), [str(value) for value in _listed(values)], account, family)
            if ORDER.index(word) < ORDER.index(narrowest[0]):
                narrowest = (word, f"{who} {why}")
    return narrowest


def _condition(key: str, values: list[str], account: str, family: frozenset[str]) -> Finding:
    names = _CONDITIONS["keys"].get(key)
    if names == "addresses":
        return max(map(_range, values), key=lambda one: ORDER.index(one[0]), default=("public", ""))
    # Only fixed values limit anything: a wildcard for the holder, or a policy variable, lets everyone in.
    fixed = [value.split("/")[0] if names == "organization" else _holder(value) for value in values]
    if not names or not fixed or any(character in value for value in fixed for character in "*?$"):
        return "public", ""
    if names == "network":
        return "internal", "from named networks"
    if names == "organization":
        return ("internal" if family.issuperset(fixed) else "external"), "of an organization"
    return _widest(_account(value, account, family) for value in values).word, "of named accounts"


def _range(value: str) -> Finding:
    """Judge an address range; S3 calls what is wider than /8 (IPv4) or /32 (IPv6) public."""
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return "public", ""
    if network.is_private and network.prefixlen > 0:
        return "internal", "from private addresses"
    wide = network.prefixlen < (8 if network.version == 4 else 32)
    return ("public", "") if wide else ("external", "from fixed addresses")


def _denies_all(one: Json, bucket: Mapping[str, Json], key: str | None) -> bool:
    """Tell an unconditional lock for everyone; only such a Deny is sure to leave nobody outside in."""
    if one.get("Effect") != "Deny" or one.get("Condition"):
        return False
    everyone = one.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
    if key is None:
        wide = _has(one, "Action", ("*", "s3:*")) and _has(one, "Resource", ("*", "arn:aws:s3:::*"))
    else:
        reads = all(_matches(one, "Action", value) for value in _READS)
        wide = reads and _covers(one, "Resource", _arns(bucket, key))
    return everyone and wide


def _arns(bucket: Mapping[str, Json], key: str) -> tuple[str]:
    return (f"arn:{bucket.get('partition') or 'aws'}:s3:::{bucket.get('name', '')}/{key}",)


def _has(one: Json, field: str, exact: tuple[str, ...]) -> bool:
    return any(str(value).lower() in exact for value in _listed(one.get(field)))


def _covers(one: Json, field: str, wanted: tuple[str, ...]) -> bool:
    """Tell whether the field, or everything but its Not… form, reaches one of what is wanted."""
    if f"Not{field}" in one:
        return not all(_matches(one, f"Not{field}", value) for value in wanted)
    return any(_matches(one, field, value) for value in wanted)


def _matches(one: Json, field: str, value: str) -> bool:
    fold = str.lower if field.endswith("Action") else str
    patterns = (fold(str(pattern)) for pattern in _listed(one.get(field)))
    # A policy knows * and ?; fnmatch's brackets must stay plain characters.
    return any(fnmatchcase(fold(value), pattern.replace("[", "[[]")) for pattern in patterns)


def _listed(value: Json) -> list[Json]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _statements(policy: Json) -> list[dict[str, Json]]:
    return [_object(one) for one in _listed(_object(policy).get("Statement"))]
