"""Tests of what a run over a directory is made of."""
