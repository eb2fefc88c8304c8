"""One script per table; run.py for all of them."""
