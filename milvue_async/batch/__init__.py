"""Many studies: a directory in, a folder of results, a manifest and a summary out."""
