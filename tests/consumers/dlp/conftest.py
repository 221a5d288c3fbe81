"""Rules, an engine in this process, and documents made by the libraries that others write them with."""

import io
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from consumers.dlp.budget import Limits
from consumers.dlp.detectors import Rules
from consumers.dlp.engine import Engine
from consumers.dlp.status import Verdict
from consumers.dlp.workers import Scanners

KEY = b"a key of the tenant, 32 bytes ok"


@pytest.fixture(scope="session")
def rules() -> Rules:
    """The built-in detectors."""
    return Rules.load(KEY)


@pytest.fixture(scope="session")
def engine(rules: Rules) -> Engine:
    """An engine with the ordinary limits."""
    return Engine(rules)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scanners(rules: Rules) -> AsyncIterator[Scanners]:
    """A pool of one process with limits that tests can reach."""
    async with Scanners(1, Limits(wall=10, seconds=5), rules) as pool:
        yield pool


@pytest.fixture
def counts() -> Callable[[Verdict], dict[str, int]]:
    """Counts by detector, test values apart."""

    def count(verdict: Verdict) -> dict[str, int]:
        found: dict[str, int] = {}
        for finding in verdict.findings:
            name = f"{finding.detector}:test" if finding.test else finding.detector
            found[name] = found.get(name, 0) + finding.count
        return found

    return count


@pytest.fixture
def packed() -> Callable[[dict[str, bytes]], bytes]:
    """Makes a zip file of the given members."""

    def pack(members: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return out.getvalue()

    return pack


@pytest.fixture
def encrypted_docx() -> bytes:
    """A docx that Word's own scheme encrypts (agile encryption, made with msoffcrypto-tool)."""
    return (Path(__file__).parent / "files" / "encrypted.docx").read_bytes()
