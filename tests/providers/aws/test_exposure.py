"""Who can see a bucket or an object, judged as S3 itself would."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.providers.aws.exposure import (
    FLAGS,
    acl_is_public,
    bucket_exposure,
    object_exposure,
    public_statements,
)
from schemas.exposure import ORDER

OWNER = "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"
ALL_USERS = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
ANY_CUSTOMER = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}
LOG_DELIVERY = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"}
MYSELF = {"Type": "CanonicalUser", "ID": OWNER}
STRANGER = {"Type": "CanonicalUser", "ID": "f" * 64}
ALL_ON = dict.fromkeys(FLAGS, True)
FAMILY = frozenset({"222222222222", "o-a1b2c3d4e5"})


def acl(*grantees: dict[str, str], owner: str = OWNER) -> dict[str, Any]:
    """Make an access control list that lets each of them read."""
    return {"Owner": {"ID": owner}, "Grants": [{"Grantee": one, "Permission": "READ"} for one in grantees]}


def allow(principal: Any = "*", **more: Any) -> dict[str, Any]:
    """Make a statement that lets someone read everything."""
    who = {"Effect": "Allow", "Principal": principal}
    return {**who, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", **more}


def bucket(*statements: Any, **more: Any) -> dict[str, Any]:
    """Make a bucket of account 111111111111 with a policy of these statements."""
    policy = {"Version": "2012-10-17", "Statement": list(statements)} if statements else None
    known = {"name": "b", "account": "111111111111", "owner": OWNER, "acl": acl(MYSELF), "policy": policy}
    return {**known, "ownership": "ObjectWriter", **more}


@pytest.mark.parametrize(
    ("principal", "word"),
    [
        ("*", "public"),
        ({"AWS": "*"}, "public"),
        ({"AWS": ["arn:aws:iam::111111111111:root", "*"]}, "public"),
        ({"AWS": "arn:aws:iam::111111111111:root"}, "private"),
        ({"AWS": "111111111111"}, "private"),
        ({"AWS": "arn:aws:iam::222222222222:role/backup"}, "internal"),
        ({"AWS": "arn:aws:iam::333333333333:user/eve"}, "external"),
        ({"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"}, "external"),
        ({"CanonicalUser": "f" * 64}, "external"),
        ({"Federated": "cognito-identity.amazonaws.com"}, "external"),
        ({"Service": "cloudfront.amazonaws.com"}, "external"),
        ({"Service": "logging.s3.amazonaws.com"}, "internal"),
    ],
)
def test_principals(principal: Any, word: str) -> None:
    """Each form of a principal says how far the statement reaches."""
    assert bucket_exposure(bucket(allow(principal)), FAMILY).word == word


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        ({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}, "internal"),
        ({"StringEquals": {"aws:PrincipalOrgID": ["o-a1b2c3d4e5", "o-zzzzzzzzzz"]}}, "external"),
        ({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/*"}}, "internal"),
        ({"ForAllValues:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/*"}}, "public"),
        ({"StringLike": {"aws:PrincipalOrgID": "o-*"}}, "public"),
        ({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}, "public"),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}, "internal"),
        ({"StringLike": {"aws:SourceVpce": "vpce-*"}}, "public"),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}, "public"),
        ({"IpAddress": {"aws:SourceIp": "54.240.143.0/24"}}, "external"),
        ({"IpAddress": {"aws:SourceIp": ["54.240.143.0/24", "0.0.0.0/0"]}}, "public"),
        ({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}, "public"),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, "internal"),
        ({"IpAddress": {"aws:SourceIp": "2000::/3"}}, "public"),
        ({"IpAddress": {"aws:SourceIp": "rubbish"}}, "public"),
        ({"NotIpAddress": {"aws:SourceIp": "54.240.143.0/24"}}, "public"),
        ({"StringEquals": {"aws:PrincipalAccount": "111111111111"}}, "private"),
        ({"StringEquals": {"aws:PrincipalAccount": "333333333333"}}, "external"),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111111111111:role/*"}}, "private"),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}, "public"),
        ({"StringEquals": {"aws:PrincipalAccount": "${aws:PrincipalTag/acct}"}}, "public"),
        ({"StringEquals": {"aws:PrincipalAccount": []}}, "public"),
        ({"StringLike": {"aws:Referer": "https://example.com/*"}}, "public"),
        ({"Bool": {"aws:SecureTransport": "true"}}, "public"),
    ],
)
def test_conditions(condition: Any, word: str) -> None:
    """Only conditions on fixed principals, accounts, organizations and networks narrow "everyone"."""
    assert bucket_exposure(bucket(allow(Condition=condition)), FAMILY).word == word


def test_everyone_but_some_is_everyone() -> None:
    """A NotPrincipal in an Allow lets in all others, anonymous ones too."""
    statement = allow()
    del statement["Principal"]
    assert bucket_exposure(bucket({**statement, "NotPrincipal": {"AWS": "333333333333"}})).word == "public"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, "public"),
        ({"Resource": "arn:aws:s3:::b/public/*"}, "private"),
        ({"Resource": ["arn:aws:s3:::b/x/*", "arn:aws:s3:::b/se?ret/[1].txt"]}, "public"),
        ({"Resource": "arn:aws:s3:::b/secret/1.txt"}, "private"),
        ({"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"}, "private"),
        ({"Action": ["s3:Get*"]}, "public"),
        ({"Action": "S3:GETOBJECT"}, "public"),
        ({"Action": "s3:PutObject"}, "private"),
    ],
)
def test_a_statement_reaches_only_its_objects(more: Any, word: str) -> None:
    """An object is as exposed as the statements that let it be read; brackets in keys are plain."""
    assert object_exposure(bucket(allow(**more)), "secret/[1].txt", acl(MYSELF)).word == word


def test_not_resource_reaches_all_others() -> None:
    """NotResource is everything else."""
    statement = allow()
    del statement["Resource"]
    assert (
        object_exposure(bucket({**statement, "NotResource": "arn:aws:s3:::b/in/*"}), "out", None).word
        == "public"
    )
    assert (
        object_exposure(bucket({**statement, "NotResource": "arn:aws:s3:::b/in/*"}), "in/1", None).word
        == "private"
    )


def test_an_unconditional_deny_wins() -> None:
    """A Deny for everyone on everything leaves nobody in; one with a condition proves nothing."""
    lock = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::b/*"]}
    assert object_exposure(bucket(allow(), lock), "k", None).word == "private"
    half = {**lock, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    assert object_exposure(bucket(allow(), half), "k", None).word == "public"


@pytest.mark.parametrize(
    ("grantee", "word"),
    [
        (MYSELF, "private"),
        (STRANGER, "external"),
        (LOG_DELIVERY, "internal"),
        (ALL_USERS, "public"),
        (ANY_CUSTOMER, "public"),
        ({"Type": "AmazonCustomerByEmail", "EmailAddress": "a@b.example"}, "external"),
    ],
)
def test_grants(grantee: dict[str, str], word: str) -> None:
    """Everyone and every AWS customer are the public; another canonical user is an outsider."""
    assert bucket_exposure(bucket(acl=acl(MYSELF, grantee))).word == word
    assert object_exposure(bucket(), "k", acl(MYSELF, grantee)).word == word
    assert acl_is_public(acl(grantee)) is (word == "public")


def test_a_bucket_acl_opens_no_object() -> None:
    """READ on a bucket lists its keys and reads none of them."""
    assert object_exposure(bucket(acl=acl(ALL_USERS)), "k", acl(MYSELF)).word == "private"


def test_an_object_of_another_account() -> None:
    """Without enforced ownership the uploader's account owns the object."""
    assert object_exposure(bucket(), "k", acl(owner="e" * 64)).word == "external"


def test_enforced_ownership_switches_acls_off() -> None:
    """BucketOwnerEnforced: the stored grants mean nothing."""
    enforced = bucket(acl=acl(ALL_USERS), ownership="BucketOwnerEnforced")
    assert bucket_exposure(enforced).word == "private"
    assert object_exposure(enforced, "k", acl(ALL_USERS, owner="e" * 64)).word == "private"


@pytest.mark.parametrize("level", ["block", "account_block"])
def test_the_blocks(level: str) -> None:
    """Each wall stops its own way in, at either level; refusing changes stops nothing stored."""
    by_acl, by_policy = bucket(acl=acl(ALL_USERS)), bucket(allow())
    assert bucket_exposure({**by_acl, level: {"IgnorePublicAcls": True}}).word == "private"
    assert bucket_exposure({**by_acl, level: {"BlockPublicAcls": True}}).word == "public"
    assert bucket_exposure({**by_policy, level: {"RestrictPublicBuckets": True}}).word == "private"
    assert bucket_exposure({**by_policy, level: {"BlockPublicPolicy": True}}).word == "public"


def test_restricting_a_public_bucket_cuts_other_accounts_too() -> None:
    """RestrictPublicBuckets acts only while the policy is public, and then on every account but the own."""
    walls = {"block": {"RestrictPublicBuckets": True}}
    other = allow({"AWS": "333333333333"})
    assert bucket_exposure(bucket(other, **walls)).word == "external"
    assert bucket_exposure(bucket(other, allow(), **walls)).word == "private"


def test_s3_has_the_last_word_on_a_policy() -> None:
    """The status S3 computes overrules our reading both ways."""
    assert bucket_exposure(bucket(allow(), policy_public=False)).word == "external"
    odd = allow(Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}})
    assert bucket_exposure(bucket(odd, policy_public=True)).word == "public"


def test_reasons_say_why() -> None:
    """The widest reason comes first; what lets nobody in is no reason."""
    seen = bucket_exposure(bucket(allow(), acl=acl(MYSELF, STRANGER)))
    assert seen.reasons[0] == "bucket policy: everyone"
    assert seen.reasons[1].startswith("bucket ACL: READ for canonical user ffff")
    assert len(seen.reasons) == 2
    assert public_statements({"Statement": [allow({"AWS": "1" * 12}), allow(), "rubbish"]}) == [1]


grants = st.lists(st.sampled_from([MYSELF, STRANGER, LOG_DELIVERY, ALL_USERS, ANY_CUSTOMER]), max_size=4)
principals = st.sampled_from(
    ["*", {"AWS": "*"}, {"AWS": "111111111111"}, {"AWS": "333333333333"}, {"Service": "x"}]
)
conditions = st.sampled_from(
    [
        {},
        {"IpAddress": {"aws:SourceIp": "1.2.3.4/32"}},
        {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
    ]
)
statements = st.lists(
    st.builds(lambda who, when: allow(who, Condition=when), principals, conditions), min_size=1, max_size=4
)
flags = st.dictionaries(st.sampled_from(FLAGS), st.booleans())
levels = st.sampled_from(["block", "account_block"])
ownerships = st.sampled_from(["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter", ""])


@given(grants, statements, levels, ownerships, st.sampled_from([True, False, None]))
def test_behind_all_walls_nothing_is_public(
    g: Any, s: Any, level: str, ownership: str, status: bool | None
) -> None:
    """With all four switches on, at either level, no combination is public."""
    walled = bucket(*s, acl=acl(*g), ownership=ownership, policy_public=status, **{level: ALL_ON})
    assert bucket_exposure(walled, FAMILY).word != "public"
    assert object_exposure(walled, "k", acl(*g), FAMILY).word != "public"


@given(grants, grants, statements, flags, ownerships)
def test_a_further_grant_never_narrows(g: Any, more: Any, s: Any, block: Any, ownership: str) -> None:
    """Adding to an ACL keeps or widens the exposure."""
    state = {"ownership": ownership, "block": block}
    before = bucket_exposure(bucket(*s, acl=acl(*g), **state), FAMILY).word
    after = bucket_exposure(bucket(*s, acl=acl(*g, *more), **state), FAMILY).word
    assert ORDER.index(after) >= ORDER.index(before)


@given(statements, statements, ownerships)
def test_a_further_statement_never_narrows(s: Any, more: Any, ownership: str) -> None:
    """Adding an Allow keeps or widens, unless RestrictPublicBuckets makes a public policy worth less."""
    before = object_exposure(bucket(*s, ownership=ownership), "k", None, FAMILY).word
    after = object_exposure(bucket(*s, *more, ownership=ownership), "k", None, FAMILY).word
    assert ORDER.index(after) >= ORDER.index(before)


@given(grants, statements, flags, flags)
def test_a_further_wall_never_widens(g: Any, s: Any, block: Any, more: Any) -> None:
    """Switching walls on keeps or narrows the exposure."""
    both = {flag: bool(block.get(flag) or more.get(flag)) for flag in FLAGS}
    before = bucket_exposure(bucket(*s, acl=acl(*g), block=block), FAMILY).word
    after = bucket_exposure(bucket(*s, acl=acl(*g), block=both), FAMILY).word
    assert ORDER.index(after) <= ORDER.index(before)


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
words = st.sampled_from(["Effect", "Principal", "Action", "Condition", "AWS", "Statement"])
rubbish = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
)


@given(rubbish)
def test_a_policy_of_rubbish_is_judged(policy: Any) -> None:
    """Whatever JSON a policy is, judging it ends in a word."""
    assert bucket_exposure(bucket(policy=policy)).word in ORDER
    assert object_exposure(bucket(policy={"Statement": policy}), "k", None).word in ORDER
