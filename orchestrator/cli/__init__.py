"""The command line. ``remote`` talks HTTP and to nothing else; ``local`` works on this machine's files, through ``wiring``."""
