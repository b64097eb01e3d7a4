"""`make up`: start the ClearML server of this machine, or say where it runs already."""

import subprocess
import sys

from stepwise_server.ops.clients import instructions
from stepwise_server.ops.folder import default_folder, find_running


def main() -> int:
    """Start the kind of server that was asked for; return the exit code."""
    kind, *arguments = sys.argv[1:] or ["lite"]
    if kind != "lite":
        print(
            f"error: SERVER={kind}: only the one-process server can be started by this version",
            file=sys.stderr,
        )
        print("  next: make up SERVER=lite", file=sys.stderr)
        return 2
    running = find_running(default_folder())
    if running:
        print("\n".join(["runs already:", *instructions(default_folder(), running.url)]))
        return 0
    return subprocess.run(
        [sys.executable, "-m", "stepwise_cli", "server", "start", "--detach", *arguments]
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
