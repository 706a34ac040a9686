"""The run directory: paths, atomic writes, lock, fingerprints, the pipeline of stages."""
