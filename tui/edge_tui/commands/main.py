"""`python -m edge_tui.commands.main` and `accelerate launch -m` of it; the command line is `edge_tui.cli.main`."""

from __future__ import annotations

from edge_tui.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
