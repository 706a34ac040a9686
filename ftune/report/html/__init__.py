"""report.html: a run as one page that stands alone and asks no network for anything."""
