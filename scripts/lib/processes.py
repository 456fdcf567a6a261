"""Server processes: started with a log file, stopped by their own pid, gone once stopping returns."""

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

    Unless it is to outlive this process, the kernel kills it when this process dies in any way. (In that case call this
    from the main thread: the kernel watches the thread, not the process.)
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
    """Start of a live process in clock ticks since boot: pid and start time together identify a process uniquely."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = text.rpartition(")")[2].split()
    state, start_time = after_name[0], int(after_name[19])
    # A zombie with running threads still holds its files, locks and ports.
    return None if state in "ZX" and threads <= 1 else start_time


def stop(pid: int, born: int, *, kill: bool = False, grace: float = 15.0) -> None:
    """Ends the process with this pid and start time, and waits until it is gone. Touches no other process."""
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
    """The last lines of a log file."""
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
