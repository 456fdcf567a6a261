"""Output of the scripts. Progress goes to stderr; stdout is for results that other programs read."""

import sys
import time

STARTED = time.monotonic()


class UserError(Exception):
    """An error that the user can fix; printed without a traceback."""


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def section(title: str) -> None:
    """The heading of one part of a longer run."""
    say(f"\n=== {title} ({time.monotonic() - STARTED:.0f} s) ===")


def run_main(main) -> None:
    """Runs a script's `main()` and turns its errors into an exit code."""
    try:
        code = main()
    except UserError as error:
        say(f"error: {error}")
        code = 1
    except KeyboardInterrupt:
        say("interrupted")
        code = 130
    sys.exit(code)
