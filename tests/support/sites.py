"""All providers that the conformance suite judges; to add one is to add a line to each table."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aws_practice import AwsPractice
from github_practice import GitHubPractice
from github_site import GitHubSite
from okta_practice import OktaPractice
from okta_site import OktaSite
from practice import Guarded, Practice, Trial
from tenants import AwsSite, Site, ToySite
from toy_practice import ToyPractice


class Starts(Protocol):
    """A class of practices: what it declares, and how a tenant is started."""

    trials: Mapping[str, Trial]
    guarded: Mapping[str, Guarded]

    def start(self) -> AbstractAsyncContextManager[Practice]:
        """Start the tenant."""
        ...


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
PRACTICES: Mapping[str, Starts] = {
    "aws": AwsPractice,
    "github": GitHubPractice,
    "okta": OktaPractice,
    "toy": ToyPractice,
}
"""Where actions are tried and pushes come from."""
