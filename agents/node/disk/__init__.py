"""A guest's disk as restic sees it: files of a fixed size, each with the time of its last change."""
