"""Imports point down only, as docs/design/architecture.md draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PLAIN = {
    "model",
    "errors",
    "net",
    "offloads",
    "settings",
    "wire",
    "logs",
    "printable",
    "signal",
    "steps",
    "tls",
}  # values and words: anyone may know them

# layer -> the layers it may import, besides itself. A module of `lessor` itself is its own layer.
MAY_IMPORT = {
    "errors": set[str](),
    "offloads": set[str](),
    "layout": {"printable"},
    "model": {"net"},
    "net": {"errors", "model"},
    "settings": {"model", "net"},
    "wire": {"errors", "model", "net"},
    "logs": {"printable"},
    "printable": set[str](),
    "signal": set[str](),
    "steps": {"errors"},
    "tls": {"errors"},
    "netns": set[str](),
    "systemd": set[str](),
    "core": {"net", "model", "errors", "settings"},
    "store": {"net", "model", "errors", "settings", "wire"},
    "config": PLAIN,
    "client": PLAIN,
    "api": PLAIN | {"store", "core", "systemd"},
    "agent": PLAIN
    | {"core", "daemon", "dhcpd", "dnsd", "metadata", "dhcpbridge", "netns", "systemd"},
    "daemon": {"errors", "net", "model", "netns"},
    "metadata": PLAIN | {"core", "daemon", "netns"},
    "dhcpd": PLAIN | {"core", "daemon", "netns"},
    "dnsd": PLAIN | {"core", "daemon", "netns"},
    "dhcpbridge": set[str](),
    "cli": PLAIN | {"client", "config", "layout"},
    "lab": PLAIN | {"client", "config", "layout"},
}
# Where a process is put together, its parts meet: who may import what, and only there.
ENTRY_POINTS = {
    "lessor.cli.processes": {
        "lessor.api.server",
        "lessor.agent.main",
        "lessor.agent.offline",
    },
    "lessor.cli.up": {
        "lessor.store.store",
        "lessor.store.hosts",
    },  # makes the token of its own host
    "lessor.cli.db": {"lessor.store.engine"},  # upkeep of a database without a server
    "lessor.cli.main": {"lessor.lab.cli"},
}
PURE = {"core", "net"}
IMPURE = {
    "asyncio", "fcntl", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "select", "shutil", "signal", "socket", "ssl", "structlog", "subprocess", "sys",
    "tempfile", "threading", "time", "uuid", "pyroute2", "httpx", "sqlalchemy",
}  # fmt: skip
PURE_VALUES = {("pathlib", "Path"), ("pathlib", "PurePath"), ("uuid", "UUID"), ("uuid", "uuid5")}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((SOURCE / "lessor").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import in a file, wherever it stands; name "" is the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a thing comes from"
            yield from ((node.module or "", alias.name) for alias in node.names)


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported_layers(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (layer, module) of what a file imports of Lessor."""
    for module, name in imports(path):
        if module == "lessor":
            yield name, f"lessor.{name}"
        elif module.startswith("lessor."):
            yield layer(module), module


def breaches(module: str, path: Path) -> list[str]:
    own = layer(module)
    allowed = MAY_IMPORT.get(own, set()) | {own}
    return [
        f"{module} imports {target}"
        for target_layer, target in imported_layers(path)
        if target_layer not in allowed and target not in ENTRY_POINTS.get(module, ())
    ]


def test_imports_point_down_only() -> None:
    assert [line for module, path in modules() for line in breaches(module, path)] == []


def test_every_package_has_its_place_in_the_order() -> None:
    unknown = {layer(module) for module, _ in modules()} - set(MAY_IMPORT) - {""}
    assert unknown == set(), "say in MAY_IMPORT what it may import"


def test_pure_layers_touch_no_file_socket_process_clock_or_chance() -> None:
    impure = [
        f"{module} imports {target} {name}".rstrip()
        for module, path in modules()
        if layer(module) in PURE
        for target, name in imports(path)
        if target.split(".")[0] in IMPURE and (target, name) not in PURE_VALUES
    ]
    assert impure == []


def test_pure_layers_never_ask_what_time_it_is() -> None:
    asked = [
        f"{module}:{node.lineno}"
        for module, path in modules()
        if layer(module) in PURE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("now", "today", "utcnow")
    ]
    assert asked == []


DNSMASQ = ("lessor.agent.drivers.dnsmasq", "lessor.core.dnsmasq")


def test_only_the_kit_knows_which_program_serves_dhcp() -> None:
    knowing = {
        module
        for module, path in modules()
        for target, name in imports(path)
        if f"{target}.{name}".startswith(DNSMASQ) and not module.startswith(DNSMASQ)
    }
    assert knowing == {"lessor.agent.kit"}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        pytest.param("lessor.core.plan.flat", "from lessor.store import query", id="core-store"),
        pytest.param(
            "lessor.store.ports.rules",
            "from lessor.core.plan.flat import FlatPlanner",
            id="store-core",
        ),
        pytest.param("lessor.cli.ports", "import lessor.store.store", id="cli-store"),
        pytest.param("lessor.agent.host.run", "from lessor import api", id="agent-api"),
    ],
)
def test_an_import_upwards_is_found(tmp_path: Path, module: str, line: str) -> None:
    file = tmp_path / "module.py"
    file.write_text(f"def late() -> None:\n    {line}\n")
    assert breaches(module, file)
