"""The cache folder outside the clone, for everything that the scripts install and build once."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil


def root() -> pathlib.Path:
    """The cache folder, created if it is missing. MILVUS_CDC_CACHE names another one."""
    named = os.environ.get("MILVUS_CDC_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(named) if named else pathlib.Path(base) / "milvus-cdc"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextlib.contextmanager
def lock(name: str):
    """Holds one named lock of the cache, so that two scripts never install the same thing at once."""
    with open(root() / f"{name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(*parts: str) -> str:
    """A short folder name for a set of versions."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def is_complete(folder: pathlib.Path) -> bool:
    """Whether `install_once` has completed this folder."""
    return (folder / ".complete").exists()


def install_once(folder: pathlib.Path, fill) -> pathlib.Path:
    """Calls `fill(folder)` unless an earlier run has finished it.

    The stamp is written last: an interrupted run leaves a folder without a stamp, and the next run starts over.
    """
    if is_complete(folder):
        return folder
    with lock(folder.name):
        if not is_complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            fill(folder)
            (folder / ".complete").touch()
    return folder
