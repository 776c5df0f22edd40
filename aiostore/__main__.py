"""`python -m aiostore`: the command line."""

from aiostore.cli import main

if __name__ == "__main__":
    main()
