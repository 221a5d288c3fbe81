"""A source on Airbyte's Python CDK that writes Airbyte's messages; a loader puts them on Kafka.

``python airbyte.py API``: what ``read`` of a source connector does, state messages included.
"""

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import ConnectorSpecification
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams import Stream
from airbyte_cdk.sources.streams.http import HttpStream


class Logs(HttpStream):
    """The System Log."""

    primary_key = "uuid"
    url_base = ""

    def __init__(self, api: str) -> None:
        super().__init__()
        self._api = api

    def path(self, *, next_page_token: Mapping[str, Any] | None = None, **_: Any) -> str:
        """Name the page."""
        return str(next_page_token["url"]) if next_page_token else f"{self._api}/api/v1/logs"

    def next_page_token(self, response: Any) -> Mapping[str, Any] | None:
        """Follow the link until a page is empty."""
        return {"url": response.links["next"]["url"]} if len(response.content) > 2 else None

    def parse_response(self, response: Any, **_: Any) -> Iterable[Mapping[str, Any]]:
        """Give the records."""
        return response.json()

    def get_json_schema(self) -> Mapping[str, Any]:
        """Describe nothing: no record is changed."""
        return {"type": "object", "additionalProperties": True, "properties": {"uuid": {"type": "string"}}}


class Source(AbstractSource):
    """The source of one stream."""

    def spec(self, logger: Any) -> ConnectorSpecification:
        """Ask for the address."""
        del logger
        return ConnectorSpecification(connectionSpecification={"type": "object"})

    def check_connection(self, logger: Any, config: Mapping[str, Any]) -> tuple[bool, Any]:
        """Say that all is well."""
        del logger, config
        return True, None

    def streams(self, config: Mapping[str, Any]) -> list[Stream]:
        """Give the stream."""
        return [Logs(config["api"])]


def main() -> None:
    """Read as the platform does."""
    stream = {
        "stream": {"name": "logs", "json_schema": {}, "supported_sync_modes": ["full_refresh"]},
        "sync_mode": "full_refresh",
        "destination_sync_mode": "append",
    }
    with tempfile.TemporaryDirectory() as folder:
        config, catalog = Path(folder, "config.json"), Path(folder, "catalog.json")
        config.write_text(json.dumps({"api": sys.argv[1]}), encoding="utf-8")
        catalog.write_text(json.dumps({"streams": [stream]}), encoding="utf-8")
        launch(Source(), ["read", "--config", str(config), "--catalog", str(catalog)])


if __name__ == "__main__":
    main()
