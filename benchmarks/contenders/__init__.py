"""The contenders: each a program of its own, which imports no more than its way needs."""
