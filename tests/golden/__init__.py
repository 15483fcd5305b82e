"""Golden files: an intent goes in, whole files come out; `python -m tests.golden.rewrite` writes them anew."""
