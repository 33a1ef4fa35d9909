"""`python -m inkwash` is the command line, so that launchers can start it as a module."""

from inkwash.commands.cli import main

if __name__ == "__main__":
    main()
