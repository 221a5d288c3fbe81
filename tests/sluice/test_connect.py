"""`sluice connect` from the settings file to the stored wish, with AWS simulated."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingest.cluster import Cluster
from ingest.credentials import Keyring
from ingest.links import Links
from sandbox.aws.seed import seed
from sandbox.aws.tenant import AwsTenant
from schemas.topics import TOPICS
from sluice.operate import Desk
from sluice.tail import tail

pytestmark = pytest.mark.kafka


async def test_connect_with_secrets_by_reference(shell: Any, cluster: Cluster, tmp_path: Path) -> None:
    """The instance and the grants are told; the secret is in no output and on no topic, and opens again."""
    call = shell.of(cluster)
    async with AwsTenant(log=tmp_path / "tenant.log") as tenant:
        account = (await seed(tenant, history=1)).accounts[1]
        secret = account.key_pair["aws_secret_access_key"]
        (tmp_path / "secret").write_text(secret + "\n")
        file = tmp_path / "aws.json"
        settings = {
            "access_key_id": "env:AWS_ID", "secret_access_key": "file:secret", "regions": [account.region],
            "endpoints": {"aws": tenant.endpoint},
        }  # fmt: skip
        file.write_text(json.dumps(settings))
        arguments = ("connect", "aws", "prod", "--settings", str(file))
        key = {"AWS_ID": account.key_pair["aws_access_key_id"]}
        said = await call(*arguments, "--no-wait", "--json", **key)
        assert said.code == 0, said.err
        told = json.loads(said.out)
        assert (told["change"], told["instance"]["id"]) == ("stored", account.id)
        assert {"accounts", "logons"} <= {one["capability"] for one in told["grants"]}
        plain = await call(*arguments, "--no-wait", **key)
        assert plain.code == 0
        assert account.id in plain.out
        twice = await call("connect", "aws", "again", *arguments[3:], **key)
        assert twice.code == 1
        assert "is connected already, as prod" in twice.err
        file.write_text(json.dumps({**settings, "secret_access_key": "not-" + secret}))
        wrong = await call(*arguments, **key)
        assert (wrong.code, wrong.out) == (1, "")
        for one in (said, plain, twice, wrong):
            assert secret not in one.out + one.err
    desk = Desk(cluster, Keyring.of(cluster.config))
    wish = await desk.wish("prod")
    assert (wish.revision, wish.generation) == (2, 1)
    opened = Links(desk.keyring).settings(wish)
    assert opened.secret_access_key.get_secret_value() == secret
    for topic in TOPICS:
        async for record in tail(cluster, topic, None, None):
            assert secret not in json.dumps(record)
