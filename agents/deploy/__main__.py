import sys

from agents.deploy.main import main

sys.exit(main())
