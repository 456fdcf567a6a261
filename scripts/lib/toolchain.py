"""The one place that decides how cargo is called, so that no script causes another to rebuild its dependencies."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import cache
import install
import rocksdb
from report import say

# Version of gRPC core in pkg-config: 29 is gRPC 1.51, that of Debian bookworm and the oldest tested.
OLDEST_GRPC_CORE = "29"


@functools.lru_cache(maxsize=None)
def has_system_grpc() -> bool:
    """Whether the installed gRPC can be used instead of building our own."""
    try:
        answer = subprocess.run(["pkg-config", f"--atleast-version={OLDEST_GRPC_CORE}", "grpc"], capture_output=True)
    except FileNotFoundError:
        return False
    return answer.returncode == 0


def features(vendored: bool = False) -> list[str]:
    """Cargo's flags for the features, the same for every call with one target folder."""
    return ["--no-default-features", "--features", "system-grpc"] if has_system_grpc() and not vendored else []


def profile(vendored: bool = False) -> list[str]:
    """Cargo's flags for the profile; releases have one of their own."""
    return ["--profile", "dist"] if vendored else ["--release"]


def environment(vendored: bool = False) -> dict[str, str]:
    """The environment of every cargo call, with a target folder for each of the two ways to build gRPC."""
    system = has_system_grpc() and not vendored
    target = cache.root() / ("target-system" if system else "target-vendored")
    variables = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    if not vendored:
        variables |= rocksdb.environment(target)
    if system:
        variables["GRPCIO_SYS_USE_PKG_CONFIG"] = "1"
    return variables


def cargo(
    subcommand: str,
    *arguments: str,
    variables: dict[str, str] | None = None,
    check: bool = True,
    vendored: bool = False,
    nice: int = 0,
) -> int:
    """Runs `cargo SUBCOMMAND` with the common flags; output goes to stderr. With `nice`, other programs go first."""
    command = ["cargo", subcommand, *profile(vendored), *features(vendored), *arguments]
    say(f"$ {' '.join(command)}")
    done = subprocess.run(
        ["nice", "-n", str(nice), *command],
        cwd=install.REPOSITORY,
        env={**environment(vendored), **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=check,
    )
    return done.returncode


def build(vendored: bool = False) -> pathlib.Path:
    """Builds the release binary and returns its path; `vendored` builds gRPC, whatever is installed."""
    install.rust()
    install.debian_packages()
    kind = (
        "the installed gRPC"
        if has_system_grpc() and not vendored
        else "its own gRPC (the first time takes half an hour)"
    )
    say(f"building milvus-cdc with {kind}")
    cargo("build", "--bin", "milvus-cdc", vendored=vendored)
    return pathlib.Path(environment(vendored)["CARGO_TARGET_DIR"]) / ("dist" if vendored else "release") / "milvus-cdc"


def build_bench(name: str) -> pathlib.Path:
    """Builds a program of benches/ as the release is built, beside what else runs, and returns its path."""
    command = ["cargo", "build", *profile(), *features(), "--bench", name, "--message-format=json-render-diagnostics"]
    say(f"$ {' '.join(command)}")
    told = subprocess.run(
        ["nice", "-n", "10", *command],
        cwd=install.REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    messages = [json.loads(line) for line in told.splitlines()]
    named = [each for each in messages if each.get("executable") and each["target"]["name"] == name]
    return pathlib.Path(named[0]["executable"])
