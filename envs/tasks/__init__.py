"""Tasks, one file each in a folder a family; a new file here is found without an edit elsewhere."""
