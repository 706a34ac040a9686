"""Row shapes, one file each."""
