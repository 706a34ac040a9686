"""Several machines: what the engines that start jobs there need, written and, if asked, run."""
