"""`python -m minigpt_tui` is `minigpt-tui`."""

import sys

from minigpt_tui.app import main

sys.exit(main())
