"""``python -m ftune``."""

from ftune.cli.app import main

if __name__ == "__main__":
    main()
