"""`python -m minigpt`: the `minigpt` command, where only a module can be named (torchrun's -m)."""

from minigpt.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
