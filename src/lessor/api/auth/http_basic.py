"""auth_strategy=http_basic: names and passwords from an htpasswd file, roles from another.

The user file is that of `htpasswd -B` (ironic and oslo.middleware read the same), a line a user:
`alice:$2y$10$...`. The roles file says `alice:PROJECT:ROLE,ROLE`. Both are read again when they
change.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import bcrypt
from litestar.types import Scope

from lessor.api.auth.caller import Caller, Headers, Known
from lessor.api.auth.remembered import Remembered
from lessor.errors import ConfigError, Unauthorized, Unavailable

LONGEST = 72  # bytes of a password that bcrypt looks at; htpasswd cuts there too
BCRYPT = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}")
USUAL_COST = 5  # of htpasswd -B
T = TypeVar("T")
Stamp = tuple[int, int, int]
User = tuple[bytes, Caller]  # hash and caller


class HttpBasic:
    """Knows people by the header `Authorization: Basic`.

    Args:
        users: the file of names and hashes.
        roles: the file of projects and roles; None: every user is an administrator.
        known: makes a caller.
        longest_s: how long a verified password is remembered.

    Raises:
        ConfigError: a file can't be read, or has a line of another form.
    """

    challenge = 'Basic realm="Lessor"'

    def __init__(self, users: Path, roles: Path | None, known: Known, longest_s: float) -> None:
        self._files = (users, roles)
        self._make = known
        self._remembered = Remembered(longest_s)
        self._stamps = self._stamp()
        self._users = self._read()
        self._nobody = _hash_of_nobody(self._users)

    async def __call__(self, headers: Headers, scope: Scope) -> Caller:
        """Return who calls; see `Authenticator`."""
        if self._stamps != (stamps := self._stamp()):
            self._users, self._stamps = self._reread(), stamps
            self._nobody = await asyncio.to_thread(_hash_of_nobody, self._users)
            self._remembered.forget()
        credential = _credential(headers.get(b"authorization", b""))
        users = self._users

        async def verify() -> tuple[Caller, float]:
            return await asyncio.to_thread(self._verified, users, credential), float("inf")

        name = credential.partition(b":")[0]
        line = (scope["client"] or ("",))[0], name
        return await self._remembered.caller(credential, verify, line, is_known=name in users)

    def _verified(self, users: Mapping[bytes, User], credential: bytes) -> Caller:
        name, _, password = credential.partition(b":")
        hashed, caller = users.get(name, (self._nobody, None))
        if not bcrypt.checkpw(password[:LONGEST], hashed) or caller is None:
            raise Unauthorized("the user name or the password is wrong")
        return caller

    def _stamp(self) -> tuple[Stamp | None, ...]:
        return tuple(_stamp(file) for file in self._files)

    def _reread(self) -> Mapping[bytes, User]:
        try:
            return self._read()
        except ConfigError as error:
            raise Unavailable(f"the server can't tell who you are: {error}") from error

    def _read(self) -> Mapping[bytes, User]:
        users, roles = self._files
        of_users = {} if roles is None else dict(_lines(roles, _role))
        found = {}
        for name, hashed in _lines(users, _hash):
            project, its = of_users.get(name, ("", ())) if roles else ("", ("admin",))
            found[name.encode()] = (hashed.encode(), self._make(name, project, its))
        return found


def _hash_of_nobody(users: Mapping[bytes, User]) -> bytes:
    """Return what an unknown name's password is compared with, so that the time doesn't tell.

    Its cost is the one that most of the file's hashes have.
    """
    costs = Counter(int(hashed[4:6]) for hashed, _ in users.values())
    usual = costs.most_common(1)[0][0] if costs else USUAL_COST
    return bcrypt.hashpw(b"", bcrypt.gensalt(usual))


def _credential(header: bytes) -> bytes:
    """Return "name:password"."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        raise Unauthorized("give a user name and a password (HTTP basic authentication)")
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error as error:
        raise Unauthorized("the header Authorization is not in base64") from error


def _stamp(file: Path | None) -> Stamp | None:
    if file is None:
        return None
    try:
        found = os.stat(file)  # noqa: PTH116 - three times faster than Path.stat, each request
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _lines(file: Path, parse: Callable[[str], tuple[str, T]]) -> Iterator[tuple[str, T]]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                yield parse(line.strip())
            except ValueError as error:
                raise ConfigError(f"{file}, line {number}: {error}") from None


def _hash(line: str) -> tuple[str, str]:
    name, _, hashed = line.partition(":")
    if not name or not BCRYPT.fullmatch(hashed):
        raise ValueError("must be NAME:BCRYPT_HASH, as `htpasswd -nB NAME` prints it")
    return name, hashed


def _role(line: str) -> tuple[str, tuple[str, tuple[str, ...]]]:
    match line.split(":"):
        case [name, project, roles] if name and roles:
            its = tuple(role.strip() for role in roles.split(",") if role.strip())
            if not project and "admin" not in its:
                raise ValueError(f"{name} needs a project: only an administrator needs none")
            return name, (project.strip(), its)
    raise ValueError("must be NAME:PROJECT:ROLE,ROLE")
