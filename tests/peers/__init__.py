"""Tests against servers that other people wrote."""
