"""`python -m evoline.cli` is `evoline`."""

from evoline.cli import main

if __name__ == "__main__":
    main()
