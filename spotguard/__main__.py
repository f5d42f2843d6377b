"""`spotguard` and `python -m spotguard`."""

from __future__ import annotations

import sys

from spotguard.cli.loading import collector_paused


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        with collector_paused():
            from spotguard.cli.main import cli

        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                # A path need not be UTF-8, and a terminal need not show it: escape what cannot be printed instead of failing.
                stream.reconfigure(errors="backslashreplace")
        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
