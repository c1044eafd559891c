"""``python -m octapi``: the same as the command ``octapi``."""

from octapi.cli.app import main

if __name__ == "__main__":
    main()
