"""Backups of this node's data with restic (0.18 or newer): each repository belongs to one service and has a key of its own.

``argv`` says what restic is told, ``running`` runs it, ``messages`` and ``outcome`` read what it says and what its end means.
"""
