"""``python -m agents.node COMMAND``: the agent from the source tree; the zipapp's own entry does the same."""

import sys

from agents.node.main import main

sys.exit(main())
