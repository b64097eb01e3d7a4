"""`python -m stepwise_cli` is `stepwise`."""

import sys

from stepwise_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
