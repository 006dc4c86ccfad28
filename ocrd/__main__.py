"""`python -m ocrd`, the same as the command `ocrd`."""

from ocr_inbox import main

if __name__ == "__main__":
    main()
