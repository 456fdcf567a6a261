"""The one place that decides how cargo is called, so that no script makes another rebuild its dependencies."""

import functools
import os
import pathlib
import subprocess
import sys

import cache
import install
from report import say

# gRPC core's own number in pkg-config: 29 is gRPC 1.51, Debian bookworm's and the oldest that was tried.
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
    """The features that every call of one target folder has in common, as cargo's flags."""
    return ["--no-default-features", "--features", "system-grpc"] if has_system_grpc() and not vendored else []


def profile(vendored: bool = False) -> list[str]:
    """The profile, too: what is published has one of its own."""
    return ["--profile", "dist"] if vendored else ["--release"]


def environment(vendored: bool = False) -> dict[str, str]:
    """The environment of every cargo call. Two ways of building gRPC, two target folders."""
    system = has_system_grpc() and not vendored
    target = cache.root() / ("target-system" if system else "target-vendored")
    variables = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    if system:
        variables["GRPCIO_SYS_USE_PKG_CONFIG"] = "1"
    return variables


def cargo(
    subcommand: str, *arguments: str, variables: dict[str, str] | None = None, check: bool = True, vendored: bool = False
) -> int:
    """Runs `cargo SUBCOMMAND` with the common flags; output goes to stderr."""
    command = ["cargo", subcommand, *profile(vendored), *features(vendored), *arguments]
    say(f"$ {' '.join(command)}")
    done = subprocess.run(
        command,
        cwd=install.REPOSITORY,
        env={**environment(vendored), **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=check,
    )
    return done.returncode


def build(vendored: bool = False) -> pathlib.Path:
    """Builds the release binary and answers its path; `vendored`: with its own gRPC, whatever is installed."""
    install.rust()
    install.debian_packages()
    kind = "the installed gRPC" if has_system_grpc() and not vendored else "its own gRPC (the first time takes half an hour)"
    say(f"building milvus-cdc with {kind}")
    cargo("build", "--bin", "milvus-cdc", vendored=vendored)
    return pathlib.Path(environment(vendored)["CARGO_TARGET_DIR"]) / ("dist" if vendored else "release") / "milvus-cdc"
