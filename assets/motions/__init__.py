"""Parts, fixtures and furniture of factory cells: one YAML file each."""
