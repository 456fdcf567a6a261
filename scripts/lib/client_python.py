"""For scripts that talk to Milvus themselves: the interpreter that has pymilvus, and the end-to-end tests' building
blocks."""

import os
import pathlib
import sys

import install


def enter(wanted: pathlib.Path | None = None) -> None:
    """Re-executes the script in the interpreter of the client environment (or in another one), installing it first.
    Must be the first call."""
    install.debian_packages()
    wanted = wanted or install.python()
    if sys.prefix != str(wanted.parent.parent):
        os.execv(wanted, [str(wanted), *sys.argv])
    sys.path.append(str(install.REPOSITORY / "tests" / "e2e"))
