"""Counts the instructions of the hot paths (benches/hot_paths.rs) and compares them with those of benches/counts.json.

On a shared machine times differ by a third from run to run, and the number of instructions not at all. It depends on
the compiler, and by the C library's choice of memcpy on the processor: figures are kept for each, and where there are
none nothing is compared.
"""

import json
import os
import pathlib
import re
import subprocess

import install
import toolchain
from report import say

COUNTS = install.REPOSITORY / "benches" / "counts.json"
PATHS = ["decode", "reorder", "lane", "merge", "encode"]
# A change may cost this much, as a share of what it was.
TOLERANCE = 0.03
# What the C library chooses by.
FLAGS = ["avx2", "avx512vl", "erms", "fsrm"]


def check() -> bool:
    """Whether no path needs more instructions than it did."""
    counted = _count()
    if counted is None:
        return True
    known = json.loads(COUNTS.read_text()).get(_machine())
    if known is None:
        say(f"NOT COMPARED, there are no figures for {_machine()} (`scripts/test counts --record`): {counted}")
        return True
    passed = True
    for path, count in counted.items():
        change = count / known[path] - 1
        passed &= change <= TOLERANCE
        say(f"{path:8} {count:>12,} instructions, {change:+.1%}{'' if change <= TOLERANCE else '  TOO MANY'}")
    return passed


def record() -> bool:
    """Keeps today's figures, for a change whose costs are meant."""
    counted = _count()
    if counted is None:
        return False
    figures = json.loads(COUNTS.read_text()) | {_machine(): counted}
    COUNTS.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    return True


def _count() -> dict[str, int] | None:
    valgrind = install.tool("valgrind")
    if valgrind is None:
        say("NOT RUN: valgrind is not to be had (Debian: valgrind)")
        return None
    binary = toolchain.build_bench("hot_paths")
    counting = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=hot_paths::counted*"]
    tools = valgrind.parents[1] / "libexec" / "valgrind"
    variables = {**os.environ, "VALGRIND_LIB": str(tools)} if tools.is_dir() else dict(os.environ)
    return {path: _instructions([valgrind, *counting, binary, path], variables) for path in PATHS}


def _instructions(command: list[pathlib.Path | str], variables: dict[str, str]) -> int:
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stderr
    return int(re.search(r"Collected : (\d+)", told)[1])


def _machine() -> str:
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    described = pathlib.Path("/proc/cpuinfo").read_text()
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", described, re.MULTILINE)[1].split()
    maker = re.search(r"^vendor_id\s*: (.*)$", described, re.MULTILINE)
    library = "-".join(os.confstr("CS_GNU_LIBC_VERSION").split())
    processor = [maker[1] if maker else "", *(flag for flag in FLAGS if flag in flags)]
    return " ".join([f"rustc-{compiler}", library, *processor])
