"""The capability table is read from the classes, and says for each provider what the mission says."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import ingest.providers
from ingest import catalog
from ingest.catalog import CAPABILITIES, covers, provider, providers, table
from ingest.errors import Misconfigured
from ingest.provider import Provider, Settings

FOLDERS = sorted(
    path.name for path in Path(ingest.providers.__path__[0]).iterdir() if (path / "__init__.py").exists()
)

# The mission: "must" and "extra" (the API offers it) are there, "none" and "na" are not.
MISSION = {
    "aws": {
        "accounts": "must", "groups": "extra", "privileges": "extra", "logons": "must", "user_activity": "na",
        "admin_activity": "must", "user_governance": "extra", "app_permissions": "na",
        "revoke_app_permissions": "na", "dlp_backlog": "extra", "dlp_realtime": "must",
        "sharing_control": "must", "file_governance": "must", "labels": "na",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MISSION))
def test_a_provider_covers_its_mission(name: str) -> None:
    """What must work is there whole; what makes no sense for the provider is not claimed."""
    found = covers(provider(name))
    wanted = MISSION[name]
    assert set(wanted) == set(CAPABILITIES)
    for capability in CAPABILITIES:
        said = found.get(capability, "")
        if wanted[capability] == "must":
            assert said == "yes", capability
        elif wanted[capability] == "extra":
            assert said == "yes" or said.startswith("partly: "), capability
        else:
            assert not said, capability
    assert provider(name).many


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_one_provider_of_its_name(folder: str) -> None:
    """A folder defines exactly one class, named as the folder is; a README stands beside it."""
    assert providers()[folder].name == folder
    readme = Path(ingest.providers.__path__[0]) / folder / "README.md"
    assert readme.read_text().startswith("# ")


def test_the_table_has_a_row_a_provider() -> None:
    """With its feeds, hooks and actions, plain enough to print as JSON."""
    rows = table()
    assert [row["provider"] for row in rows] == FOLDERS
    for row, kind in zip(rows, (provider(name) for name in FOLDERS), strict=True):
        assert set(row["feeds"]) == set(kind.feeds())
        assert set(row["actions"]) == {one.name for one in kind.actions}
        assert set(row["capabilities"]) <= set(CAPABILITIES)


def test_a_provider_elsewhere_is_found_by_its_package() -> None:
    """Tests and users may name packages of their own."""
    found = providers(extra=("toy.provider",))
    assert set(found) == {*FOLDERS, "toy"}
    (row,) = table([found["toy"]])
    assert row["capabilities"]["accounts"] == "yes"
    assert row["feeds"]["activity"]["every_seconds"]


def test_an_unknown_provider_is_answered_with_the_known() -> None:
    """A typo ends in the list."""
    with pytest.raises(Misconfigured, match=rf"'awss'.*{FOLDERS[0]}"):
        provider("awss")


@pytest.mark.parametrize("number", [0, 2])
def test_a_package_without_exactly_one_provider_is_refused(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None or two: the error names the package."""
    module = ModuleType("odd_provider")
    for place in range(number):
        kind = type(f"P{place}", (Provider,), {"__module__": "odd_provider", "name": f"p{place}"})
        setattr(module, f"P{place}", kind)
    monkeypatch.setitem(sys.modules, "odd_provider", module)
    with pytest.raises(TypeError, match=f"odd_provider must define exactly one Provider, not {number}"):
        providers(extra=("odd_provider",))


def test_words_about_partial_cover_reach_the_table() -> None:
    """What is partial says why, what comes through another connector says which."""

    class Some(Provider[Settings]):
        name = "some"
        partly = {"logons": "a day late"}  # noqa: RUF012 the contract's own way of stating facts
        via = {"accounts": "google_workspace"}  # noqa: RUF012 the same

    assert catalog.covers(Some) == {"logons": "partly: a day late", "accounts": "via google_workspace"}
