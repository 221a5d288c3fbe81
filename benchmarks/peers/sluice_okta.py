"""The product's own reading of Okta's System Log, with all that belongs to it, as an owner does it.

``python sluice_okta.py API KAFKA PREFIX``: its client, budgets (Okta's own are lifted, or it would wait a
second a page), mapping, stamping, validation, `seen`, group commit with the cursor.
"""

import gc
import os
import sys
from base64 import b64encode
from collections.abc import Mapping
from typing import Final, cast

import uvloop
from lab.owner import owning
from pydantic import SecretStr

from ingest.cluster import Cluster
from ingest.config import Config
from ingest.credentials import Keyring
from ingest.links import Links
from ingest.log import configure
from ingest.provider import Api, Instance, Limit
from ingest.providers.okta import Okta
from schemas.control import Wish
from schemas.events import Origin

HERE: Final = Instance("00o1")
ORIGIN: Final = Origin(
    tenant="acme", provider="okta", instance=HERE.id, account_type_id=10,
    product={"name": Okta.title, "vendor_name": Okta.vendor},
)  # fmt: skip


class Unlimited(Okta):
    """Okta with budgets that are never used up."""

    def apis(self) -> Mapping[str, Api]:
        """Lift the limits."""
        return {
            name: api._replace(limits={"calls": Limit(1_000_000, 60.0)})
            for name, api in super().apis().items()
        }


async def main() -> None:
    """Read to the end."""
    api, kafka, prefix = sys.argv[1:]
    key = b64encode(os.urandom(32)).decode()
    cluster = Cluster(Config(kafka=kafka, prefix=prefix, key=SecretStr(key), partitions=8, replication=1))
    await cluster.ready()
    await cluster.learn()
    settings = {"domain": "acme.okta.com", "api_token": "x", "endpoints": {"okta": api}}
    links = Links(Keyring.of(cluster.config), {"okta": Unlimited})
    wish = Wish(name="bench", provider="okta", partition=0, incarnation="1", settings=settings)
    async with links.open(wish, known=HERE) as link:
        read = cast("Okta", link.provider).log
        async with owning(cluster, Okta.feeds()["log"], read, ORIGIN, HERE) as feed:
            await feed.read_once()


if __name__ == "__main__":
    configure("warning", pretty=False)
    gc.set_threshold(200_000, 10, 10)  # as `sluice.roles` does
    uvloop.run(main())
