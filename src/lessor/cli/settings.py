"""`lessor config`: pages generated from the options."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="The settings file.")


@app.command()
def sample() -> None:
    """Print a settings file with every option and its default."""
    from lessor.config import reference  # noqa: PLC0415 - oslo.config loads slowly

    print(reference.sample(), end="")


@app.command()
def reference() -> None:
    """Print the reference page of all options."""
    from lessor.config import reference as pages  # noqa: PLC0415 - as above

    print(pages.page(), end="")
