"""What a person may be exposed to: limits of contact by body region, each with its source."""
