"""The data card: what is in a store, as a `README.md` and as one HTML page that needs no network."""
