"""Pages about product tests: one result, two side by side, many in a table. Each is one HTML file without network."""
