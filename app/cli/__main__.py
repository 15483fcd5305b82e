"""`python -m app.cli` is `muster`."""

from app.cli import main

if __name__ == "__main__":
    main()
