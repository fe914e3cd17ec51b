"""`python -m unspool`, which is what the command `unspool` runs."""

import sys

from unspool.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
