"""`python -m aimo_submit`, the same as `aimo-submit`."""

import sys

from aimo_submit.cli import main

if __name__ == "__main__":  # a worker process of an engine imports this file again
    sys.exit(main())
