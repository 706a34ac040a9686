"""The command line: a Typer app, one file per verb."""
