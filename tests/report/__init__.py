"""The page made of results, in a real browser."""
