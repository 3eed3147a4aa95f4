"""Code that runs elsewhere than on the controller; none of it imports ``orchestrator``."""
