"""``python -m serving`` starts the service."""

import os
import sys

from serving.launcher import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
