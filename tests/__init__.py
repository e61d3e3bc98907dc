"""Tests: behaviour through public surfaces, against real servers on free ports."""
