"""`python -m ocrd`, the same as the command `ocrd`."""

from ocrd.cli import main

if __name__ == "__main__":
    main()
