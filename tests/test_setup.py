"""scripts/setup and its lock files, tried in checkouts and with package indexes of the tests' own.

The script is this repository's; the lock files and wheels are small ones that a test makes.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
LIMIT_S = 300
USERS = ("lessor-dhcpd", "lessor-dnsd", "lessor-hook", "lessor-metadata")

# Builds the checkout's own wheel with nothing but Python; scripts/setup doesn't look at what builds
# it.
BACKEND = """
from pathlib import Path
import shutil

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    (wheel,) = Path("own").glob("*.whl")
    shutil.copy(wheel, wheel_directory)
    return wheel.name
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["own"]
[project]
name = "lessor"
version = "1.0"
"""


def write_wheel(folder: Path, name: str, version: str, metadata: str = "") -> Path:
    """Write a wheel with one module. Source: Binary distribution format, PyPA specifications."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            record += f"{file},sha256={digest.decode()},{len(text)}\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


@dataclass
class Index:
    """A package index in a folder (PEP 503)."""

    folder: Path
    wheels: dict[tuple[str, str], Path] = field(default_factory=dict)

    def offer(self, name: str, version: str, metadata: str = "") -> None:
        """Add a version of a package."""
        project = self.folder / name
        project.mkdir(parents=True, exist_ok=True)
        self.wheels[name, version] = write_wheel(project, name, version, metadata)
        links = "".join(
            f'<a href="{file.name}">{file.name}</a>\n' for file in project.glob("*.whl")
        )
        (project / "index.html").write_text(links)

    def lock(self, **versions: str) -> str:
        """Return lines of a lock file, with hashes."""
        lines = []
        for name, version in versions.items():
            digest = hashlib.sha256(self.wheels[name, version].read_bytes()).hexdigest()
            lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
        return "".join(lines)


class Checkout:
    """A folder with the repository's scripts and a product of its own."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.index = index
        (folder / "own").mkdir()
        (folder / "own/backend.py").write_text(BACKEND)
        write_wheel(folder / "own", "lessor", "1.0")
        (folder / "pyproject.toml").write_text(PYPROJECT)
        (folder / "scripts").symlink_to(ROOT / "scripts")

    @property
    def environment(self) -> Mapping[str, str]:
        """pip has no other settings than the index."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
        own = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": self.index.folder.as_uri()}
        return kept | own

    def start(self, *options: str) -> subprocess.Popen[str]:
        argv = (str(self.folder / "scripts/setup"), "--no-packages", *options)
        pipe, merged = subprocess.PIPE, subprocess.STDOUT
        return subprocess.Popen(argv, stdout=pipe, stderr=merged, text=True, env=self.environment)

    def set_up(self, *options: str) -> tuple[int, str]:
        """Run scripts/setup; return its status and all that it said."""
        with self.start(*options) as setup:
            said, _ = setup.communicate(timeout=LIMIT_S)
        return setup.returncode, said

    def python(self, program: str) -> str:
        argv = (self.folder / ".venv/bin/python", "-c", program)
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    def pip_version(self) -> tuple[int, ...]:
        said = self.python("import importlib.metadata as m; print(m.version('pip'))")
        return tuple(map(int, re.findall(r"\d+", said)))

    def versions(self) -> dict[str, str]:
        """Return what is installed, without pip's own."""
        listed = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
        found: dict[str, str] = json.loads(self.python(listed))
        return {name: found[name] for name in sorted(found) if name not in ("pip", "setuptools")}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Offer a package that is asked for with an extra, in a newer version than the lock has."""
    index = Index(tmp_path / "index")
    index.offer("cover", "1.0", "Provides-Extra: toml\n")
    index.offer("tester", "1.0", "Requires-Dist: cover[toml]>=0.5\n")
    return index


@pytest.fixture
def checkout(tmp_path: Path, index: Index) -> Checkout:
    (tmp_path / "checkout").mkdir()
    checkout = Checkout(tmp_path / "checkout", index)
    lock = index.lock(cover="1.0", tester="1.0")
    (checkout.folder / "requirements.txt").write_text(lock)
    index.offer("cover", "2.0", "Provides-Extra: toml\n")
    return checkout


@pytest.fixture(scope="module")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what scripts/setup installs into, which takes two seconds; it is copied."""
    folder = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run(("/usr/bin/python3", "-m", "venv", folder), check=True, timeout=LIMIT_S)
    return folder


@pytest.fixture
def ready(checkout: Checkout, new_environment: Path) -> Checkout:
    """Return a checkout whose environment is there, with nothing installed in it."""
    shutil.copytree(new_environment, checkout.folder / ".venv", symlinks=True)
    return checkout


def test_a_newer_release_of_a_package_asked_for_with_an_extra_changes_nothing(
    ready: Checkout,
) -> None:
    status, said = ready.set_up()
    assert status == 0, said
    assert ready.versions() == {"cover": "1.0", "lessor": "1.0", "tester": "1.0"}
    # the index does what the real one would: where pip resolves, it wants the new version's hash
    pip = (
        ".venv/bin/python",
        "-m",
        "pip",
        "install",
        "--force-reinstall",
        "--require-hashes",
        "-r",
    )
    resolved = subprocess.run(
        (*pip, "requirements.txt"),
        cwd=ready.folder,
        env=ready.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ready.pip_version() < (24,):  # of Debian 12; later ones keep to the lock's version
        assert "must have their versions pinned with ==" in resolved.stderr


def test_two_at_once_make_one_environment_and_a_third_asks_no_index(checkout: Checkout) -> None:
    both = [checkout.start("--lab") for _ in range(2)]
    said = [setup.communicate(timeout=LIMIT_S)[0] for setup in both]
    assert [setup.returncode for setup in both] == [0, 0], said
    assert sorted(bool(words) for words in said) == [False, True]
    assert checkout.versions()["tester"] == "1.0"
    shutil.rmtree(checkout.index.folder)
    assert checkout.set_up("--lab") == (0, "")


def test_a_lock_that_lacks_a_package_is_refused_with_its_name(checkout: Checkout) -> None:
    (checkout.folder / "requirements.txt").write_text(checkout.index.lock(tester="1.0"))
    status, said = checkout.set_up()
    assert status == 1
    assert "setup: requirements.txt is not complete; scripts/lock" in said
    assert "tester 1.0 requires cover, which is not installed" in said
    assert not (checkout.folder / ".venv/stamp").exists(), "the next run takes it for done"


def test_a_file_with_another_hash_is_refused(ready: Checkout) -> None:
    lock = (ready.folder / "requirements.txt").read_text()
    (ready.folder / "requirements.txt").write_text(re.sub("sha256:..", "sha256:00", lock))
    status, said = ready.set_up()
    assert status == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in said


def test_the_products_environment_has_no_tools_until_they_are_asked_for(
    ready: Checkout,
) -> None:
    index, folder = ready.index, ready.folder
    index.offer("linter", "1.0")
    product, test = index.lock(cover="1.0"), index.lock(cover="1.0", tester="1.0")
    (folder / "requirements.txt").write_text(product)
    (folder / "requirements-test.txt").write_text(test)
    (folder / "requirements-check.txt").write_text(test + index.lock(linter="1.0"))
    assert ready.set_up()[0] == 0
    assert set(ready.versions()) == {"cover", "lessor"}
    assert ready.set_up("--check")[0] == 0
    assert set(ready.versions()) == {"cover", "lessor", "linter", "tester"}
    assert ready.set_up("--lab") == (0, ""), "what has more than the product does for it"
    (folder / "requirements-clients.txt").write_text(index.lock(cover="1.0"))
    assert ready.set_up("--test")[0] == 0
    kept = (folder / ".venv/stamp").read_text()
    assert kept.startswith("requirements-check.txt "), "what has more than tests need does for them"


def test_what_an_older_checkout_left_is_brought_up_to_date(ready: Checkout) -> None:
    """The old script's stamp was only a hash; an installed tool conflicts with the new lock."""
    assert ready.set_up()[0] == 0
    (ready.folder / ".venv/stamp").write_text("0123abcd\n")
    (ready.folder / "requirements.txt").write_text(ready.index.lock(cover="2.0"))
    ready.index.offer("tester", "1.0", "Requires-Dist: cover<2\n")
    old = ready.folder / ".venv/lib"
    metadata = next(old.glob("*/site-packages/tester-1.0.dist-info/METADATA"))
    metadata.write_text(metadata.read_text().replace(">=0.5", "<2"))
    status, said = ready.set_up()
    assert (status, "setup: making .venv" in said) == (0, True), said
    assert ready.versions() == {"cover": "2.0", "lessor": "1.0"}


def test_a_checkout_that_services_cant_see_is_told_where_to_go(ready: Checkout) -> None:
    assert ready.folder.is_relative_to("/tmp") or ready.folder.is_relative_to("/var/tmp")
    for _ in range(2):  # the one who asked for the demo before has all, and is told, too
        _, said = ready.set_up()
        assert f"the checkout {ready.folder} can't be seen by the systemd units" in said
        assert "clone to /opt/lessor and run scripts/setup there" in said
    assert "interpreter" not in said


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_checkout_elsewhere_is_told_nothing_and_an_interpreter_at_home_is(
    elsewhere: Path, checkout: Checkout, new_environment: Path, tmp_path: Path
) -> None:
    there = Checkout(elsewhere, checkout.index)
    shutil.copytree(new_environment, elsewhere / ".venv", symlinks=True)
    (elsewhere / "requirements.txt").write_text(checkout.index.lock(cover="1.0"))
    assert "note:" not in there.set_up()[1]
    python = elsewhere / ".venv/bin/python"
    (tmp_path / "python3").symlink_to(python.resolve())
    shutil.copy(python.resolve(), tmp_path / "python")
    python.unlink()
    python.symlink_to(tmp_path / "python")
    _, said = there.set_up()
    assert f"the interpreter {tmp_path / 'python'} can't be seen" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="users are made by root")
def test_users_without_rights_are_made_where_they_are_not(ready: Checkout) -> None:
    programs, made = ready.folder / "bin", ready.folder / "made"
    programs.mkdir()
    for name, does in {
        "dpkg-query": "echo installed",
        "getent": f"grep -qs -- $2 {made}",
        "useradd": f'echo "$*" >>{made}',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    setup = ready.folder / "scripts/setup"
    environment = dict(ready.environment) | {"PATH": f"{programs}:{os.environ['PATH']}"}
    for first in (True, False):
        done = subprocess.run(
            (setup,), env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for user in USERS:
            assert (f"making the user {user}" in done.stdout) is first
    for line, user in zip(made.read_text().splitlines(), USERS, strict=True):
        assert line.endswith(f"--shell /usr/sbin/nologin {user}")
        assert "--system" in line


def test_an_unknown_option_is_refused(checkout: Checkout) -> None:
    status, said = checkout.set_up("--labs")
    assert (status, "there is no option --labs; there are --lab, --check" in said) == (1, True)


def pins(lock: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / lock).read_text()))


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ("requirements.txt", "requirements-test.txt"),
        ("requirements-test.txt", "requirements-check.txt"),
    ],
)
def test_a_lock_with_more_has_all_of_the_one_before_it(part: str, whole: str) -> None:
    assert pins(part).items() <= pins(whole).items()


def test_the_products_lock_has_no_tools() -> None:
    tools = {"pytest", "mypy", "ruff", "hypothesis", "keystone", "ansible-core"}
    assert not tools & pins("requirements.txt").keys()
    assert not {"mypy", "ruff"} & pins("requirements-test.txt").keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_each_line_of_a_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    lines = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^ *#.*\n", "", text))[1:]
    assert lines
    assert [line for line in lines if "--hash=sha256:" not in line] == []
    assert not re.search(r"://|^-", text, re.MULTILINE)


def test_all_that_the_product_imports_is_in_its_lock() -> None:
    """An import of a package that only tests have works here, and not at a user's."""
    of_module, locked = (
        packages_distributions(),
        {normal(name) for name in pins("requirements.txt")},
    )
    imported = {
        name.partition(".")[0]
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imports(node)
    }
    others = imported - sys.stdlib_module_names - {"lessor"}
    assert "httpx" in others
    missing = [name for name in sorted(others) if not {normal(d) for d in of_module[name]} & locked]
    assert missing == []


def imports(node: ast.AST) -> list[str]:
    """Return the modules that a statement imports."""
    match node:
        case ast.Import(names=names):
            return [one.name for one in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
    return []


def normal(name: str) -> str:
    """Source: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.long  # scripts/setup has just done the same for the tests' own environment
def test_the_product_runs_in_a_checkout_set_up_from_nothing(tmp_path: Path) -> None:
    """With the real lock file, and pip's own settings: packages come from the usual index."""
    listed = ("git", "-C", str(ROOT), "ls-files", "-z", "src", "scripts", "requirements.txt")
    files = subprocess.run(
        (*listed, "pyproject.toml", "README.md"), capture_output=True, text=True, check=True
    ).stdout.rstrip("\0")
    for name in files.split("\0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    setup = subprocess.run(
        (tmp_path / "scripts/setup", "--no-packages"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert setup.returncode == 0, setup.stdout
    lessor = tmp_path / ".venv/bin/lessor"
    said = subprocess.run((lessor, "--help"), capture_output=True, text=True, check=True).stdout
    assert "network" in said
    held = tmp_path / ".venv/bin/python"
    for tool in ("pytest", "ruff", "mypy"):
        found = subprocess.run((held, "-c", f"import {tool}"), capture_output=True, check=False)
        assert found.returncode, f"{tool} is no part of the product"
