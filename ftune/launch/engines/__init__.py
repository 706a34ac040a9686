"""One file per engine that starts processes on other machines."""
