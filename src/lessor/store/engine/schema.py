"""Brings the tables of a database to the newest version; a newer Lessor's are refused."""

from __future__ import annotations

from pathlib import Path

import structlog
from sqlalchemy import Connection

from lessor.errors import Unavailable
from lessor.store.engine import files, place, postgres, sqlite
from lessor.store.engine.dialect import is_postgres
from lessor.store.engine.exclusive import begin_alone, undo

HEAD = "0024"  # the newest migration; a test compares
FOLDER = Path(__file__).parents[1] / "migrations"

log = structlog.get_logger("lessor.store")


def migrate(conn: Connection) -> None:
    """Bring the schema to HEAD. Alembic is imported only when there is something to do: 0.3 s."""
    version = version_of(conn)
    if version == HEAD:
        return
    copied = _copy_first(conn, version)
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.util import CommandError  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = conn
    begin_alone(conn)
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        undo(conn)
        raise Unavailable(
            f"the database's tables are version {version_of(conn)!r}, which this Lessor (it knows up "
            f"to {HEAD!r}) does not know: {error}; run the newer Lessor that made them"
        ) from error
    except BaseException:
        undo(conn)
        raise
    conn.exec_driver_sql("COMMIT")
    if version:
        log.info("tables brought up to date", before=version, now=HEAD, copy=copied)


def _copy_first(conn: Connection, version: str) -> str:
    """Copy a database before its tables change, or say how to; return where the copy is."""
    if is_postgres(conn.engine):
        return "none is made on PostgreSQL: run pg_dump before an upgrade"
    if not version or not _is_older(version):
        return ""
    path = place.file_of(conn.engine)
    target = files.before(path, version)
    files.copy(path, target)
    return str(target)


def _is_older(version: str) -> bool:
    """Tell whether we can migrate from a version; a newer Lessor's is refused without a copy."""
    return version < HEAD


def version_of(conn: Connection) -> str:
    """Return the version of the tables that are there, "" if there are none."""
    found = postgres.HAS_VERSION if is_postgres(conn.engine) else sqlite.HAS_VERSION
    if not conn.exec_driver_sql(found).scalar():
        return ""
    return str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")
