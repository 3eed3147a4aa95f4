"""Commands that talk to a running controller, by HTTP over its unix socket or to a URL."""
