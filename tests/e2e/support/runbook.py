"""The runbooks of docs/disaster.md, given line by line as they stand there."""

import os
import pathlib
import subprocess


def follow_runbook(cdc, title: str) -> list[str]:
    """Gives the commands of docs/disaster.md in order; all succeed. Returns what each has said."""
    text = pathlib.Path(__file__).parents[3].joinpath("docs/disaster.md").read_text()
    block = text.split(f"## {title}\n")[1].split("```sh\n")[1].split("```")[0]
    said = []
    for line in block.splitlines():
        code, output = command(cdc, line)
        assert code == 0, f"{line}: {code}: {output}"
        said.append(output)
    return said


def command(cdc, line: str) -> tuple[int, str]:
    """Gives one command line in the server's folder; returns its exit code and what it has said."""
    binary = pathlib.Path(cdc._binary)
    found = {**os.environ, "PATH": f"{binary.parent}:{os.environ['PATH']}"}
    found["MILVUS_CDC_URL"] = f"http://127.0.0.1:{cdc.port}"
    options = {"env": found, "cwd": cdc.folder, "capture_output": True, "text": True, "timeout": 120, "check": False}
    done = subprocess.run(line, shell=True, **options)
    return done.returncode, done.stdout + done.stderr
