"""Server processes: started with their log, stopped by their own pid, gone when stopping returns."""

import ctypes
import os
import pathlib
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command: list[str], *, log: pathlib.Path, outlive: bool, env=None, cwd=None) -> subprocess.Popen:
    """Starts a server that appends its output to `log`.

    Unless it is to outlive us, the kernel ends it when we die, however we die. (Call this from the main thread then: the
    kernel watches the thread, not the process.)
    """
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=None if outlive else _die_with_parent,
        )


def birth(pid: int) -> int | None:
    """When a live process started, in clock ticks since boot: a pid with its birth names one process for ever."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = text.rpartition(")")[2].split()
    state, start_time = after_name[0], int(after_name[19])
    # A zombie whose other threads still run holds its files, locks and ports.
    return None if state in "ZX" and threads <= 1 else start_time


def stop(pid: int, born: int, *, kill: bool = False, grace: float = 15.0) -> None:
    """Ends the process that was born then and waits until it is gone. No other process is touched."""
    for number in [signal.SIGKILL] if kill else [signal.SIGTERM, signal.SIGKILL]:
        if birth(pid) != born:
            break
        os.kill(pid, number)
        deadline = time.monotonic() + grace
        while birth(pid) == born and time.monotonic() < deadline:
            time.sleep(0.02)
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def tail(log: pathlib.Path, lines: int = 40) -> str:
    """The end of a log file."""
    try:
        with open(log, "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - 300 * lines))
            text = handle.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def usage(pid: int) -> dict[str, float]:
    """CPU seconds, resident and peak memory (MB) and threads of a live process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    numbers = dict(line.split(":", 1) for line in status.splitlines())
    kib = {key: float(numbers[key].split()[0]) for key in ("VmRSS", "VmHWM")}
    return {
        "cpu_s": cpu,
        "rss_mb": kib["VmRSS"] / 1024,
        "peak_mb": kib["VmHWM"] / 1024,
        "threads": int(numbers["Threads"]),
    }
