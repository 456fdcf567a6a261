"""Runs of test programs, several at a time."""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import TextIO

import ports


class Run:
    """A program that proves something. It is started once."""

    def __init__(self, command: list[str], folder: pathlib.Path):
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen | None = None

    def start(self, variables: dict[str, str], output: TextIO) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def is_over(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def passed(self) -> bool:
        return self.is_over() and self._process.returncode == 0

    def interrupt(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        if self._process is not None:
            self._process.wait(seconds)


def side_by_side(lanes: list[list[Run]], variables: dict[str, str]) -> bool:
    """Runs of one lane follow each other, and lanes run at the same time. Answers whether all passed. Output of all but
    the very first run is shown at the end."""
    runs = [run for lane in lanes for run in lane]
    outputs = [sys.stderr, *(tempfile.TemporaryFile("w+") for _ in runs[1:])]
    try:
        waiting = [list(lane) for lane in lanes]
        current: list[Run | None] = [None for _ in lanes]
        while any(waiting) or not all(run.is_over() for run in runs):
            for number, lane in enumerate(waiting):
                if lane and (current[number] is None or current[number].is_over()):
                    current[number] = lane.pop(0)
                    place = runs.index(current[number])
                    numbered = {**variables, ports.RUN_OF: f"{place}/{len(runs)}"}
                    current[number].start(numbered, outputs[place])
            time.sleep(0.2)
    except BaseException as reason:
        # pytest stops its servers on SIGINT, which Ctrl-C has sent it already; they must be gone before we are.
        for run in runs:
            if not isinstance(reason, KeyboardInterrupt):
                run.interrupt()
        for run in runs:
            run.wait(60)
        raise
    finally:
        for output in outputs[1:]:
            output.seek(0)
            shutil.copyfileobj(output, sys.stderr)
            output.close()
    return all(run.passed() for run in runs)
