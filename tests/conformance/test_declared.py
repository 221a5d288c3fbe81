"""What a provider can do is read from its class, equals what is asked for, and is documented."""

import importlib.resources
import re

import pytest
from sites import PRACTICES, SITES
from tenants import Site

from ingest.catalog import covers, providers
from ingest.provider import Settings


def test_every_provider_is_judged() -> None:
    """A folder under the providers without a simulated tenant, or without a practice on it, fails."""
    assert set(providers()) <= set(SITES)
    assert set(SITES) == set(PRACTICES)


def test_the_capability_table(site_type: type[Site]) -> None:
    """It covers all that is asked for or worth having, and claims nothing else."""
    assert {name: said for name, said in covers(site_type.kind).items() if said != "yes"} == {}
    assert set(covers(site_type.kind)) == set(site_type.mission)


def test_names_are_plain_and_unique(site_type: type[Site]) -> None:
    """Feeds, hooks and actions have one name each, fit for cursors, addresses and the command line."""
    kind = site_type.kind
    names = [*kind.feeds(), *kind.hooks(), *(action.name for action in kind.actions)]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_-]*", name)] == []


def test_what_is_declared_holds_together(site_type: type[Site]) -> None:
    """Mappers, components, registrations and what they speed up name what there is."""
    kind = site_type.kind
    feeds, hooks = kind.feeds(), kind.hooks()
    for feed in feeds.values():
        assert feed.to
        assert not feed.component or feed.component in kind.components
        assert feed.repeats >= (feed.late or feed.repeats)
    for one in kind.subscriptions:
        assert one.brings in hooks or feeds[one.brings].every is None
        assert set(one.speeds_up) <= set(feeds)
    assert {need for needs in kind.components.values() for need in needs} <= set(kind.components)


def test_settings_keep_their_secrets(site_type: type[Site]) -> None:
    """Settings forbid what they don't know, hide their input in errors, and can be overridden by address."""
    kind = site_type.kind.settings_type
    assert issubclass(kind, Settings)
    assert kind.model_config["extra"] == "forbid"
    assert kind.model_config["hide_input_in_errors"]
    told = [name for name, one in kind.model_fields.items() if _secret(name) and one.annotation is str]
    assert told == []


def _secret(name: str) -> bool:
    words = set(name.split("_"))
    return bool(words & {"secret", "password", "token", "key"}) and "id" not in words


@pytest.mark.parametrize("what", ["feeds", "actions"])
def test_the_readme_names_it(site_type: type[Site], what: str) -> None:
    """Every feed and action is in the provider's README by its name."""
    if not site_type.documented:
        pytest.skip("it is for tests alone")
    kind = site_type.kind
    text = importlib.resources.files(kind.__module__).joinpath("README.md").read_text()
    names = list(kind.feeds()) if what == "feeds" else [action.name for action in kind.actions]
    assert [name for name in names if not re.search(rf"`{re.escape(name)}`", text)] == []
