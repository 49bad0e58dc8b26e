"""Objects by name, one YAML each: a new file here is found without an edit elsewhere."""
