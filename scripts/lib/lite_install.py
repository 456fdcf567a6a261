"""Installs Milvus Lite: two different servers under one name, each in a Python environment of its own."""

import functools
import pathlib
import subprocess
import sys

import cache
from report import UserError, say

PACKAGES = {
    # Imports pymilvus for the protocol's types, undeclared. That version talks to every reference server, so the
    # tests of Milvus Lite run in this environment, too: pymilvus 2.3.7 knows neither nullable fields nor float16 or
    # sparse vectors. The rest is what the tests' building blocks import (see tests/e2e/requirements.txt).
    "3.2.2": [
        "milvus-lite==3.2.2",
        "pymilvus==2.6.17",
        "pytest>=8,<10",
        "pytest-timeout==2.4.0",
        "pytest-xdist>=3,<4",
        "rocksdict",
        "confluent-kafka>=2.6,<3",
    ],
    # The wheel contains a C++ program; its dependencies belong to its Python part, which is not used.
    "2.5.1": ["--no-deps", "milvus-lite==2.5.1"],
}
VERSIONS = list(PACKAGES)


def _fill(version: str, folder: pathlib.Path) -> None:
    say(f"installing Milvus Lite {version}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=sys.stderr)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, *PACKAGES[version]], check=True, stdout=sys.stderr)


@functools.lru_cache(maxsize=None)
def lite(version: str) -> pathlib.Path:
    """The Python environment that has this version."""
    if version not in PACKAGES:
        raise UserError(f"Milvus Lite {version} is not one of {', '.join(VERSIONS)}")
    python = "{}.{}.{}".format(*sys.version_info[:3])
    name = f"lite-{version}-{cache.digest(python, sys.base_prefix, *PACKAGES[version])}"
    return cache.install_once(cache.root() / name, functools.partial(_fill, version))


def python() -> pathlib.Path:
    """The interpreter that the tests of Milvus Lite run under."""
    return lite("3.2.2") / "bin" / "python"


def binaries(version: str) -> pathlib.Path:
    """The folder of the program and its libraries, for versions that have one."""
    return next((lite(version) / "lib").glob("python*/site-packages/milvus_lite/lib"))
