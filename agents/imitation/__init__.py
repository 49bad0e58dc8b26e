"""Learning from recorded episodes: what the algorithms `bc` and `dagger` share."""
