"""The house: which way imports point, how large and how named things are, that they are documented."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ingest.catalog import providers
from schemas.topics import TOPICS

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "ingest", "consumers", "sluice", "sandbox")
LAYERS = {
    "schemas": set[str](),
    "ingest": {"schemas"},
    "consumers": {"schemas", "ingest"},
    "sluice": {"schemas", "ingest", "consumers"},
    "sandbox": set[str](),
}
FILE_LINES, FUNCTION_LINES = 450, 40
BANNED = re.compile(r"(^|_)(utils?|helpers?|common|managers?|base|misc)(_|$)")
FORBIDDEN_WORDS = re.compile(r"(?<![\w'])(TODO|FIXME|XXX|HACK|for now)\b")
PROVIDERS = sorted(providers())
# Beside the contract and the event builders: the SDK that a decision page names.
SDK = {"aws": {"aiobotocore", "botocore"}}


def modules(*packages: str) -> list[Path]:
    """List the modules of packages."""
    return sorted(path for one in packages for path in (ROOT / one).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[str]:
    """Name every module that a module imports, wherever it does: at the top, in a function, for types."""
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def shown(found: list[str]) -> str:
    """List what is wrong, one a line."""
    return "\n".join(["", *sorted(found)])


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    """Schemas, ingest, consumers, sluice; only the demo looks at the sandbox, which knows none of ours."""
    odd = []
    for path in modules(package):
        name = str(path.relative_to(ROOT))
        for module in imports(path):
            top = module.partition(".")[0]
            allowed = {package, *LAYERS[package]} | ({"sandbox"} if name == "sluice/demo.py" else set())
            if top in {*PACKAGES, "tests"} and top not in allowed:
                odd.append(f"{name} imports {module}")
    assert not odd, shown(odd)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_imports_the_contract_and_its_own(name: str) -> None:
    """Not the store, the broker or the client; of schemas only what builds events."""
    own = f"ingest.providers.{name}"
    builders = {"schemas.events", "schemas.exposure", "schemas.ocsf", "schemas.scalars", "schemas.what",
                "schemas.who"}  # fmt: skip
    # What the contract offers to build a provider of.
    parts = {"ingest.handshakes", "ingest.keysigned", "ingest.paging", "ingest.signatures", "ingest.switches"}
    network = {
        "aiohttp",
        "aiokafka",
        "httpx",
        "requests",
        "urllib3",
        "socket",
        "structlog",
        "logging",
        "time",
    }
    odd = []
    for path in modules(f"ingest/providers/{name}"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            elif isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            else:
                continue
            for module in found:
                top = module.partition(".")[0]
                ours = top in PACKAGES and not (
                    module in {"ingest.provider", "ingest.providers", *parts, *builders}
                    or module == own
                    or module.startswith(f"{own}.")
                )
                # What the SDK's transport raises is translated in one place.
                raised = top == "aiohttp" and path.name == "errors.py" and "aiobotocore" in SDK.get(name, ())
                foreign = (top in network and not raised) or (
                    top in set().union(*SDK.values()) and top not in SDK.get(name, ())
                )
                if ours or foreign:
                    odd.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {module}")
    assert not odd, shown(odd)


def test_the_core_names_no_provider() -> None:
    """Neither in a name, a text nor a docstring: what one provider needs is in its folder."""
    core = [path for path in modules("ingest", "consumers", "schemas") if "providers" not in path.parts]
    words = re.compile(rf"\b({'|'.join(PROVIDERS)})\b")
    odd = []
    for path in core:
        for node in ast.walk(tree(path)):
            match node:
                case ast.Constant(value=str(text)) if words.search(text):
                    odd.append(f"{path.relative_to(ROOT)}:{node.lineno} {text[:60]!r}")
                case ast.Name(id=text) | ast.Attribute(attr=text) | ast.alias(name=text) if words.search(
                    text
                ):
                    odd.append(f"{path.relative_to(ROOT)}:{node.lineno} {text}")
                case _:
                    pass
    assert not odd, shown(odd)


def test_files_are_short() -> None:
    """No file is longer than its cap."""
    odd = []
    for path in modules(*PACKAGES, "tests", "benchmarks"):
        count = len(path.read_text().splitlines())
        if count > FILE_LINES and PACKAGES.count(path.relative_to(ROOT).parts[0]):
            odd.append(f"{path.relative_to(ROOT)}: {count} lines")
    assert not odd, shown(odd)


def test_functions_are_short() -> None:
    """No function is longer than its cap: lines of code, what is nested included, its docstring not."""
    odd = []
    for path in modules(*PACKAGES):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or 0) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    count -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
                if count > FUNCTION_LINES:
                    odd.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {count} lines")
    assert not odd, shown(odd)


def test_the_middle_file_is_small() -> None:
    """Half of the files have at most 150 lines."""
    counts = sorted(len(path.read_text().splitlines()) for path in modules(*PACKAGES))
    assert counts[len(counts) // 2] <= 150


def test_names_say_what_a_file_is_about() -> None:
    """None is called by a word that fits everything; neither are classes."""
    odd = [str(path.relative_to(ROOT)) for path in modules(*PACKAGES, "tests") if BANNED.search(path.stem)]
    odd += [
        f"{path.relative_to(ROOT)}: {part}"
        for path in modules(*PACKAGES)
        for part in path.relative_to(ROOT).parts[:-1]
        if BANNED.search(part)
    ]
    for path in modules(*PACKAGES):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.name).lower()
                if BANNED.search(words.strip("_")):
                    odd.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not odd, shown(odd)


def test_nothing_is_left_for_later() -> None:
    """No marks of unfinished work."""
    odd = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in modules(*PACKAGES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if FORBIDDEN_WORDS.search(line)
    ]
    assert not odd, shown(odd)


def test_any_stays_at_the_edge() -> None:
    """`Json` is defined in few places, and nobody writes a bare `# type: ignore` or `# noqa`."""
    odd = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in modules(*PACKAGES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"# (type: ignore(?!\[)|noqa(?!:))", line)
    ]
    assert not odd, shown(odd)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_is_documented(topic: str) -> None:
    """docs/topics.md names it as code, with its key and its classes."""
    text = (ROOT / "docs" / "topics.md").read_text()
    assert f"`{topic}`" in text
    assert all(str(number) in text for number in TOPICS[topic].classes)


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_feed_and_action_is_documented(name: str) -> None:
    """The provider's README names each feed, hook, action and component as code."""
    kind = providers()[name]
    text = (ROOT / "ingest" / "providers" / name / "README.md").read_text()
    things = [*kind.feeds(), *kind.hooks(), *(one.name for one in kind.actions), *kind.components]
    missing = [one for one in things if f"`{one}`" not in text]
    assert not missing, shown(missing)
