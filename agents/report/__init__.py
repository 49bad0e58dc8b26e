"""The page about recorded episodes: numbers, plots, a replay, and how to do it again, in one HTML file."""
