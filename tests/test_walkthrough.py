"""The walk through adding a provider: its files, taken from the page, pass the conformance suite."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "adding-a-provider.md"
FILE = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
PACKAGES = ("schemas", "ingest", "consumers", "sluice", "sandbox", "tests")
SITES = (
    ("from okta_practice", "from ledgerly_practice import LedgerlyPractice\nfrom okta_practice"),
    ("from okta_site", "from ledgerly_site import LedgerlySite\nfrom okta_site"),
    ('    "okta": OktaSite.start,\n', '    "ledgerly": LedgerlySite.start,\n    "okta": OktaSite.start,\n'),
    ('    "okta": OktaSite,\n', '    "ledgerly": LedgerlySite,\n    "okta": OktaSite,\n'),
    ('    "okta": OktaPractice,\n', '    "ledgerly": LedgerlyPractice,\n    "okta": OktaPractice,\n'),
)
"""What the page says to add to the tables of sites."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the tree, put the page's files and lines into it, and give its root."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, text in FILE.findall(PAGE.read_text()):
        made = tmp_path / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(text + "\n")
    tables = tmp_path / "tests" / "support" / "sites.py"
    text = tables.read_text()
    for old, new in SITES:
        assert text.count(old) == 1
        text = text.replace(old, new)
    tables.write_text(text)
    return tmp_path


def test_following_the_page_word_for_word_works(copy: Path) -> None:
    """The made-up provider of the page passes all that is judged without Kafka, and its own tests."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-m", "not kafka",
        "-k", "ledgerly", "tests/conformance", "tests/providers/ledgerly",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"\b6\d passed", done.stdout), done.stdout[-1000:]
