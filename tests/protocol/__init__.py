"""Tests of the protocol: pure, and so without servers."""
