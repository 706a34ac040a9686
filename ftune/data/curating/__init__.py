"""Looking at data files and mending them before anything is trained: ``ftune data``."""
