"""How fast studies go out and results come in, beside other ways to do it; see README.md."""
