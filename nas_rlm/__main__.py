"""``python -m nas_rlm`` is ``nas-rlm``."""

import sys

from nas_rlm.cli import main

if __name__ == "__main__":
    sys.exit(main())
