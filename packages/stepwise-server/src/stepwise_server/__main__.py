"""`python -m stepwise_server [FOLDER] [PORT]`: the server without the `stepwise` command."""

import argparse
import sys
from pathlib import Path

from stepwise_server.errors import ServerError
from stepwise_server.ops import clients
from stepwise_server.ops.folder import Running, default_folder
from stepwise_server.ops.launch import Launch, run, warnings


def main() -> int:
    """Serve a data folder until SIGTERM or Ctrl-C, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stepwise_server", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=default_folder())
    parser.add_argument("port", type=int, nargs="?", default=8008)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--url")
    parser.add_argument("--log-file", type=Path)
    for switch in ("--open-reads", "--log-requests", "--log-json", "--remove-folder"):
        parser.add_argument(switch, action="store_true")
    launch = Launch(**vars(parser.parse_args()))
    try:
        for line in warnings(launch):
            print(f"warning: {line}", file=sys.stderr)
        run(launch, _print_instructions)
    except ServerError as error:
        print(f"error: {error}\nnext: {error.hint or 'python -m stepwise_server --help'}", file=sys.stderr)
        return error.exit_code
    return 0


def _print_instructions(server: Running) -> None:
    for line in clients.instructions(Path(server.folder), server.url):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
