"""Dataset formats, one file each, imported only when used."""
