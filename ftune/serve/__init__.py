"""Reports of all runs over HTTP, for the browsers of this machine."""
