"""Installs missing requirements of building and testing: Debian packages, Python packages, the Milvus server."""

import functools
import lzma
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import cache
from report import UserError, say

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MILVUS_VERSION = "2.3.5"

# What each Debian package is for.
DEBIAN_PACKAGES = {
    "g++": "RocksDB and gRPC are C++",
    "libclang-dev": "the RocksDB bindings are generated at build time",
    "cmake": "gRPC, where it is built from source",
    "pkg-config": "finds the installed gRPC",
    "libgrpc-dev": "saves building gRPC (11 minutes)",
    "libprotobuf-dev": "needed by libgrpc-dev's headers",
    "libssl-dev": "TLS of the installed gRPC",
    "python3-venv": "the end-to-end tests' own Python environment",
    "openssl": "certificates for the TLS tests",
    "curl": "the demo's requests",
    "chromium": "the status page's tests",
    "chromium-driver": "drives the browser",
    "fonts-dejavu-core": "the letters in its pictures",
}

# Needed only to run a broker.
JAVA_PACKAGES = {
    "default-jre-headless": "Kafka and Pulsar are Java",
    "maven": "downloads the broker",
}

# pymilvus 2.3.7 requires grpcio <= 1.60, which has wheels up to this CPython and does not build with newer ones.
NEWEST_PYTHON_OF_PINNED_GRPCIO = (3, 12)


def _is_installed(package: str) -> bool:
    answer = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True)
    return answer.stdout == "installed"


def debian_packages() -> None:
    """Installs missing Debian packages as root; otherwise the error names them."""
    if not shutil.which("dpkg-query"):
        say("not a Debian system: assuming that a C++ compiler, cmake, libclang, openssl and curl are installed")
        return
    _install_missing(DEBIAN_PACKAGES)


def java_packages() -> None:
    """Installs missing packages of a broker as root; otherwise the error names them."""
    if not (shutil.which("java") and shutil.which("mvn")) and shutil.which("dpkg-query"):
        _install_missing(JAVA_PACKAGES)


def _install_missing(packages: dict[str, str]) -> None:
    missing = [name for name in packages if not _is_installed(name)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        for name in missing:
            say(f"missing: {name} ({packages[name]})")
        raise UserError(f"install them first: sudo {' '.join(command)}")
    say(f"installing Debian packages: {' '.join(missing)}")
    with cache.lock("apt"):
        quiet = dict(
            stdin=subprocess.DEVNULL, stdout=sys.stderr, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
        subprocess.run(["apt-get", "update", "-q"], check=True, **quiet)
        subprocess.run(command, check=True, **quiet)


def rust() -> None:
    """Checks for cargo, which users install themselves."""
    if not shutil.which("cargo"):
        raise UserError("cargo is missing: install Rust 1.95 or newer with rustup")


def _requirements() -> list[str]:
    """The Python packages of tests/e2e/requirements.txt, loosened where this CPython is newer than a pin's wheels."""
    text = (REPOSITORY / "tests" / "e2e" / "requirements.txt").read_text()
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line]


def _fill_python(folder: pathlib.Path) -> None:
    say("making the Python environment of the end-to-end tests")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=sys.stderr)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    wanted = _requirements()
    if sys.version_info[:2] > NEWEST_PYTHON_OF_PINNED_GRPCIO:
        # pymilvus 2.3.7 works with newer grpcio; only its declared limit is in the way. So its dependencies are
        # installed without that limit, and then pymilvus itself without dependencies.
        unpinned = [line for line in wanted if not line.startswith(("pymilvus", "grpcio", "numpy"))]
        asked = ["grpcio", "numpy", "environs<=9.5.0", "ujson", "pandas", "pyarrow", "requests", "minio"]
        subprocess.run([*pip, *unpinned, *asked, "azure-storage-blob"], check=True, stdout=sys.stderr)
        wanted = ["--no-deps", *(line for line in wanted if line.startswith("pymilvus"))]
    subprocess.run([*pip, *wanted], check=True, stdout=sys.stderr)


@functools.lru_cache(maxsize=None)
def python() -> pathlib.Path:
    """The interpreter with pymilvus and pytest."""
    version = "{}.{}.{}".format(*sys.version_info[:3])
    name = f"python-{cache.digest(version, sys.base_prefix, *_requirements())}"
    return cache.install_once(cache.root() / name, _fill_python) / "bin" / "python"


def _wheel() -> pathlib.Path:
    """The downloaded wheel that contains the server."""
    folder = cache.root() / "wheels"
    pattern = f"milvus-{MILVUS_VERSION}-*.whl"
    if not list(folder.glob(pattern)):
        say(f"downloading Milvus {MILVUS_VERSION}")
        # Downloaded into a separate folder first: an interrupted download must not be taken for a wheel.
        partial = folder / "partial"
        pip = [str(python()), "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
        subprocess.run([*pip, "-d", str(partial), f"milvus=={MILVUS_VERSION}"], check=True, stdout=sys.stderr)
        for wheel in partial.glob(pattern):
            wheel.rename(folder / wheel.name)
    return next(folder.glob(pattern))


# Debian packages that are unpacked into the cache, not installed: installing would start a server on this machine.
UNPACKED = {"promtool": "prometheus", "prometheus": "prometheus", "nginx": "nginx", "valgrind": "valgrind"}


def tool(program: str) -> pathlib.Path | None:
    """A program that some tests need: the installed one, or else one unpacked from its Debian package; `None` if
    neither is available."""
    installed = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed:
        return pathlib.Path(installed)
    if not shutil.which("apt-get"):
        return None
    folder = cache.root() / f"debian-{UNPACKED[program]}"
    try:
        cache.install_once(folder, lambda place: _unpack(UNPACKED[program], place))
    except subprocess.CalledProcessError as error:
        say(f"{program} cannot be had: {error}")
        return None
    return next((path for path in (folder / "usr/bin" / program, folder / "usr/sbin" / program) if path.exists()), None)


def _unpack(package: str, folder: pathlib.Path) -> None:
    say(f"unpacking {package} into {folder}")
    quiet = dict(stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if os.geteuid() == 0:
        with cache.lock("apt"):
            subprocess.run(["apt-get", "update", "-q"], check=True, **quiet)
    subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True, **quiet)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True, **quiet)
        archive.unlink()


def _fill_milvus(folder: pathlib.Path) -> None:
    wheel = _wheel()
    say(f"unpacking Milvus {MILVUS_VERSION}")
    binaries = folder / "bin"
    binaries.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("milvus/data/bin/"):
                target = binaries / pathlib.Path(name).stem
                with archive.open(name) as packed, lzma.open(packed) as source, open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy)
                target.chmod(0o755)
        for name in ("config.yaml.template", "glog.conf"):
            (folder / name).write_bytes(archive.read(f"milvus/data/{name}"))


@functools.lru_cache(maxsize=None)
def milvus() -> pathlib.Path:
    """The folder of the unpacked Milvus server: `bin/`, `config.yaml.template`, `glog.conf`."""
    return cache.install_once(cache.root() / f"milvus-{MILVUS_VERSION}", _fill_milvus)
