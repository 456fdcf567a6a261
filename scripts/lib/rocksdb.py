"""RocksDB as a static library, from the sources that its Rust crate brings.

The crate compiles 343 files one by one, and three quarters of that time goes into reading the same headers again. Here
some twenty files of one folder are compiled as one, which takes a quarter of the time (docs/benchmarks.md). The crate
then links what stands in ROCKSDB_LIB_DIR.
"""

import concurrent.futures
import functools
import itertools
import os
import pathlib
import platform
import re
import shlex
import subprocess

import cache
import install
from report import say

# More files at once save little more time, and take more memory: of this size the largest takes 1.9 GB.
FILES_AT_ONCE = 20

# As the crate does on Linux (its build.rs), with the compiler's level of a release.
FLAGS = ["-O3", "-fPIC", "-ffunction-sections", "-fdata-sections", "-std=c++20", "-include", "cstdint", "-w"]
DEFINITIONS = [
    "NDEBUG=1",
    "ZSTD=1",
    "HAVE_ALIGNED_NEW",
    "HAVE_UINT128_EXTENSION",
    "OS_LINUX",
    "ROCKSDB_PLATFORM_POSIX",
    "ROCKSDB_LIB_IO_POSIX",
    "ROCKSDB_SCHED_GETCPU_PRESENT",
    "ROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "ROCKSDB_FALLOCATE_PRESENT",
    "ROCKSDB_RANGESYNC_PRESENT",
]
# The processors that .cargo/config.toml asks for.
PROCESSORS = {"x86_64": ["-march=x86-64-v2", "-mpclmul"], "aarch64": []}


@functools.lru_cache(maxsize=None)
def environment(target: pathlib.Path) -> dict[str, str]:
    """What makes the crate link our library; nothing where it has to compile its own, or has done so already."""
    ordinary = platform.system() == "Linux" and platform.machine() in PROCESSORS and platform.libc_ver()[0] == "glibc"
    changed = any(name in os.environ for name in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"))
    named = any(name in os.environ for name in ("ROCKSDB_LIB_DIR", "ROCKSDB_COMPILE"))
    if not ordinary or changed or named or any(target.glob("release/build/librocksdb-sys-*/out/librocksdb.a")):
        return {}
    return {"ROCKSDB_LIB_DIR": str(_library()), "ROCKSDB_STATIC": "1"}


def _library() -> pathlib.Path:
    """The folder of librocksdb.a, compiled the first time."""
    version = _locked("librocksdb-sys")
    compiler = shlex.split(f"{os.environ.get('CXX', 'c++')} {os.environ.get('CXXFLAGS', '')}")
    told = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    key = cache.digest(version, _locked("zstd-sys"), told, platform.machine(), *compiler, *FLAGS, *DEFINITIONS)
    return cache.install_once(cache.root() / f"rocksdb-{key}", lambda folder: _compile(folder, compiler))


def _locked(package: str) -> str:
    """The version of a package in Cargo.lock."""
    lock = (install.REPOSITORY / "Cargo.lock").read_text()
    return re.search(rf'name = "{package}"\nversion = "([^"]+)"', lock)[1]


def _sources(package: str) -> pathlib.Path:
    """The folder of a package's sources in cargo's own registry."""
    subprocess.run(["cargo", "fetch", "--locked", "-q"], cwd=install.REPOSITORY, check=True)
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
    return next(home.glob(f"registry/src/*/{package}-{_locked(package)}"))


def _batches(files: list[str]) -> list[list[str]]:
    """The files of each folder in parts of about the same size."""
    batches = []
    for _, group in itertools.groupby(sorted(files), key=lambda file: file.split("/")[0]):
        group = list(group)
        size = -(-len(group) // -(-len(group) // FILES_AT_ONCE))
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def _compile(folder: pathlib.Path, compiler: list[str]) -> None:
    crate, zstd = _sources("librocksdb-sys"), _sources("zstd-sys") / "zstd" / "lib"
    say(f"compiling RocksDB into {folder}")
    listed = (crate / "rocksdb_lib_sources.txt").read_text().split()
    # The crate has a file of its own for this one.
    files = [file for file in listed if file != "util/build_version.cc"]
    includes = [crate / "rocksdb" / "include", crate / "rocksdb", zstd, crate]
    command = [*compiler, *FLAGS, *PROCESSORS[platform.machine()], *(f"-D{each}" for each in DEFINITIONS)]
    command += [f"-I{each}" for each in includes]

    def compiled(name: str, batch: list[str], check: bool) -> pathlib.Path | None:
        source = folder / f"{name}.cc"
        source.write_text("".join(f'#include "{file}"\n' for file in batch))
        # What the compiler says of a batch is said of its files again.
        told = None if check else subprocess.DEVNULL
        done = subprocess.run([*command, "-c", source, "-o", source.with_suffix(".o")], stderr=told, check=check)
        return source.with_suffix(".o") if done.returncode == 0 else None

    def objects(number: int, batch: list[str]) -> list[pathlib.Path]:
        together = compiled(f"{number}", batch, check=False)
        if together is not None:
            return [together]
        # With this compiler two of its files do not go together.
        return [compiled(f"{number}-{position}", [file], check=True) for position, file in enumerate(batch)]

    batches = [*_batches(files), ["build_version.cc"]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(objects, range(len(batches)), batches))
    subprocess.run(["ar", "crs", folder / "librocksdb.a", *itertools.chain.from_iterable(made)], check=True)
    for leftover in [*folder.glob("*.o"), *folder.glob("*.cc")]:
        leftover.unlink()
