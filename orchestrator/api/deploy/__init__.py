"""The desk: where the deploy image on dedicated machines asks what to do.

An application of its own, on a TLS listener of its own: nothing of it is reachable through the ordinary API, and nothing of that
through this.
"""

from orchestrator.api.deploy.app import Desk as Desk
from orchestrator.api.deploy.app import create_desk as create_desk
