"""For scripts that talk to Milvus themselves: the interpreter that has pymilvus, and the end-to-end tests' building blocks."""

import os
import sys

import install


def enter() -> None:
    """Goes on in the client environment's interpreter, installing it first. Call this before anything else is done."""
    install.debian_packages()
    wanted = install.python()
    if sys.prefix != str(wanted.parent.parent):
        os.execv(wanted, [str(wanted), *sys.argv])
    sys.path.append(str(install.REPOSITORY / "tests" / "e2e"))
