"""The OpenAPI description against the running server: schemathesis generates valid and invalid requests from it and
checks the answers."""

import os
import pathlib
import subprocess
import sys

import pytest

from support.waiting import wait_until

TOKEN = "t0ken-of-the-fuzzer"
SECONDS = 40
KINDS = {"create", "check", "get", "list", "pause", "resume", "delete", "position", "maintenance", "verify", "repair"}
# The omitted checks expect HTTP statuses, where this API, like the Go server's, answers a `code`.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_answers_are_as_described(make_cdc, source, tmp_path):
    cdc = make_cdc(source, api={"token": TOKEN}, maxTaskNum=5)
    cdc.launch()
    wait_until(lambda: "ok" in cdc.get_text("/healthz"), 20, "the server")
    asked = set()
    for seed in range(1, 4):
        fuzz(cdc, seed, tmp_path)
        counted = cdc.get_text("/metrics", Authorization=f"Bearer {TOKEN}")
        asked = {
            kind
            for kind in KINDS
            if f'milvus_cdc_request_total{{request_status="total",request_type="{kind}"}}' in counted
        }
        # Request types are drawn at random, and a slow machine draws few of them in that time.
        if asked == KINDS:
            break
    assert asked == KINDS
    assert cdc.is_running() and "panicked" not in cdc.log.read_text()


def fuzz(cdc, seed: int, folder: pathlib.Path) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{cdc.port}/openapi.json"),
        *("--header", f"Authorization: Bearer {TOKEN}"),
        *(
            "--checks",
            ",".join(CHECKS),
            "--phases",
            "coverage,fuzzing",
            "--max-time",
            str(SECONDS),
            "--seed",
            str(seed),
            "--no-shrink",
        ),
        *("--request-timeout", "20", "--suppress-health-check", "all", "--warnings", "off", "--workers", "4"),
    ]
    here = pathlib.Path(__file__).parent
    variables = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(here)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=SECONDS + 60)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
