"""Schemathesis reads our OpenAPI page and sends requests that it allows and that it doesn't.

Whatever it sends, the server must not fail, and must answer as the page says.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.clients.started import CLIENTS, INSIDE, MANY, ON_BOTH, SOME, environment, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]
# not positive_data_acceptance: whether a subnet fits its network is beyond what the page can say
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "negative_data_rejection",
)
# A body that breaks the page's rules may be too large besides; Schemathesis' own list lacks that.
REFUSALS = (400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429)
SETTINGS = f"""
[checks.negative_data_rejection]
expected-statuses = {[str(status) for status in REFUSALS]}
"""


@ON_BOTH
@pytest.mark.parametrize(
    "examples",
    [pytest.param(SOME, id="some"), pytest.param(MANY, id="many", marks=pytest.mark.long)],
)
def test_every_answer_is_as_the_openapi_page_says(
    endpoint: str, tmp_path: Path, examples: int
) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    argv = [str(CLIENTS / "schemathesis"), "run", f"{endpoint}/schema/openapi.json"]
    argv += ["--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--no-color"]
    argv += ["--max-examples", str(examples), "--generation-database", "none"]
    argv += ["--warnings", "off", "--request-timeout", "60"]
    hooks = {"SCHEMATHESIS_HOOKS": "existing", "PYTHONPATH": str(INSIDE)}
    env = environment(tmp_path, LESSOR_ENDPOINT=endpoint, PYTHONDONTWRITEBYTECODE="1", **hooks)
    done = subprocess.run(
        argv, capture_output=True, text=True, env=env, check=False, cwd=tmp_path, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert httpx.get(f"{endpoint}/healthz", trust_env=False).status_code == 200
