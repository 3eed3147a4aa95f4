"""The node agent: ``node-agent.pyz COMMAND``, a JSON request on stdin, JSON lines on stdout.

Runs as root on a node, started by the launcher after it has verified the zipapp's signature. Standard library only.
"""

VERSION = "0.1.0"
