"""``ftune data``: look at data files and mend them; one file per verb."""
