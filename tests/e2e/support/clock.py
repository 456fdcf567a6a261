"""A process whose clock is wrong: what it asks the system for the time of day is off by some seconds."""

import pathlib
import subprocess

SHIFT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (!result && clock == CLOCK_REALTIME) time->tv_sec += SECONDS;
    return result;
}
"""


def with_clock_ahead(binary: pathlib.Path, seconds: int, folder: pathlib.Path) -> pathlib.Path:
    """A command that runs `binary` with a clock that is so many seconds ahead, or behind when below zero. Only the time
    of day is wrong: clocks that nobody can set go on as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    source, library, command = folder / "clock.c", folder / "clock.so", folder / "milvus-cdc"
    source.write_text(SHIFT)
    compiler = ["cc", "-shared", "-fPIC", f"-DSECONDS=({seconds})", "-o", str(library), str(source), "-ldl"]
    subprocess.run(compiler, check=True, capture_output=True)
    command.write_text(f'#!/bin/sh\nLD_PRELOAD="{library}" exec "{binary}" "$@"\n')
    command.chmod(0o755)
    return command
