"""A page on this machine to look at a store and to correct its labels: answers to its requests, and the server."""
