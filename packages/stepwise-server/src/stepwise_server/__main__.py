"""`python -m stepwise_server FOLDER [PORT]`: the server without the `stepwise` command."""

import sys
from pathlib import Path

from stepwise_server.run import listen, serve
from stepwise_server.services import Settings


def main() -> None:
    """Serve a data folder on loopback."""
    folder = Path(sys.argv[1])
    listener = listen("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 8008)
    port = listener.getsockname()[1]
    settings = Settings(folder, port=port, url=f"http://127.0.0.1:{port}")
    serve(settings, listener, lambda _: print(settings.url, flush=True))


if __name__ == "__main__":
    main()
