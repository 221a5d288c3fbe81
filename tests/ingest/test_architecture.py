"""Inside the core: who may touch Kafka's client, and what the contract and the pure parts stay free of."""

import ast
from pathlib import Path

import pytest

import ingest

CORE = Path(ingest.__file__).parent
MODULES = {path.stem: path for path in CORE.glob("*.py")}
PURE = ("hashes", "seen", "inventory", "windows", "reads", "errors", "push", "acts", "apis")
CONTRACT = ("provider", "reads", "push", "acts", "apis", "errors")


def imported(name: str) -> set[str]:
    """Name the modules that a module of the core imports."""
    found = set[str]()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def names(name: str) -> set[str]:
    """Name what a module of the core imports from others."""
    return {
        alias.name
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_one_module_touches_producers_and_one_consumers() -> None:
    """Aiokafka's traps are handled in one place each; the admin client is the cluster's."""
    for kind, home in (
        ("AIOKafkaProducer", "producing"),
        ("AIOKafkaConsumer", "consuming"),
        ("AIOKafkaAdminClient", "cluster"),
    ):
        assert [name for name in MODULES if kind in names(name)] == [home]


@pytest.mark.parametrize("name", PURE)
def test_pure_parts_know_neither_kafka_nor_network(name: str) -> None:
    """They can be tested against models, and are."""
    found = imported(name)
    assert not {one.partition(".")[0] for one in found} & {"aiokafka", "aiohttp", "asyncio", "structlog"}
    assert not found & {"ingest.cluster", "ingest.producing", "ingest.consuming", "ingest.publish"}


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contract_depends_on_itself_alone(name: str) -> None:
    """What a provider sees pulls in nothing of the machinery behind it."""
    ours = {one for one in imported(name) if one.startswith("ingest")}
    assert ours <= {f"ingest.{one}" for one in CONTRACT}


def test_the_core_has_no_import_circle() -> None:
    """Modules can be understood one after the other; imports for types alone do not count."""
    graph = dict[str, set[str]]()
    for name, path in MODULES.items():
        tree, found = ast.parse(path.read_text()), set[str]()
        typed = {
            id(child)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and id(node) not in typed:
                found.add((node.module or "").removeprefix("ingest."))
        graph[name] = found & set(MODULES)
    while graph:
        free = [name for name, needs in graph.items() if not needs & set(graph)]
        assert free, f"a circle among {sorted(graph)}"
        for name in free:
            del graph[name]
