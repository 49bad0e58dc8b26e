"""Typed configuration: the YAML reader, dotted overrides and the errors that every layer shares."""
