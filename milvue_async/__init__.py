"""Async client and command line for the Milvue AI API v3."""
