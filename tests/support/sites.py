"""All providers that the conformance suite judges; to add one is to add a line to each table."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from github_site import GitHubSite
from okta_site import OktaSite
from tenants import AwsSite, Site, ToySite

START: Mapping[str, Callable[[], AbstractAsyncContextManager[Site]]] = {
    "aws": AwsSite.start,
    "github": GitHubSite.start,
    "okta": OktaSite.start,
    "toy": ToySite.start,
}
SITES: Mapping[str, type[Site]] = {
    "aws": AwsSite,
    "github": GitHubSite,
    "okta": OktaSite,
    "toy": ToySite,
}
