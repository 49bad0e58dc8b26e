"""Factory cells: one YAML file each."""
