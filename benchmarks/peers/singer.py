"""A tap on the Singer SDK that writes Singer's messages; a loader puts them on Kafka.

``python singer.py API``: what ``tap --config …`` does, state messages included.
"""

import sys
from collections.abc import Iterable
from typing import Any

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.pagination import BaseHATEOASPaginator


class Links(BaseHATEOASPaginator):
    """Follows the link until a page is empty."""

    def get_next_url(self, response: Any) -> str | None:
        """Read the link."""
        return str(response.links["next"]["url"]) if len(response.content) > 2 else None


class Logs(RESTStream[Any]):
    """The System Log."""

    name = "logs"
    path = "/api/v1/logs"
    primary_keys = ("uuid",)
    schema = th.PropertiesList(th.Property("uuid", th.StringType), additional_properties=True).to_dict()

    @property
    def url_base(self) -> str:
        """The API's address."""
        return str(self.config["api"])

    def get_new_paginator(self) -> Links:
        """Page by links."""
        return Links()

    def get_url_params(self, context: Any, next_page_token: Any) -> str:
        """Take the parameters of the link."""
        del context
        return next_page_token.query if next_page_token else ""

    def parse_response(self, response: Any) -> Iterable[Any]:
        """Give the records."""
        return response.json()


class Logged(Tap):
    """The tap of one stream."""

    name = "tap-logs"
    config_jsonschema = th.PropertiesList(th.Property("api", th.StringType)).to_dict()

    def discover_streams(self) -> list[Logs]:
        """Give the stream."""
        return [Logs(self)]


if __name__ == "__main__":
    Logged(config={"api": sys.argv[1]}).sync_all()
