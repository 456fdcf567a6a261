"""Checks the files that users copy. Run by `scripts/test examples`, which names the binary in MILVUS_CDC_BIN."""

import os
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "scripts" / "lib"), str(REPOSITORY / "tests" / "examples")]


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    named = os.environ.get("MILVUS_CDC_BIN")
    if not named:
        pytest.exit("MILVUS_CDC_BIN must name the milvus-cdc binary; scripts/test examples does so", returncode=2)
    return pathlib.Path(named)
