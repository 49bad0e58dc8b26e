"""Stores that lie elsewhere: in an object store, on a web server, on another disk; sent, fetched, or read in place."""
