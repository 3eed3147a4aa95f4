"""Commands that work on this machine's files, through ``wiring``, which is imported when one of them runs."""
