"""The simulator, asked over HTTP by clients that are not ours."""
