"""The resources under /v1, one file each. Handlers are synchronous and only translate: HTTP in, engine or store, JSON out."""
