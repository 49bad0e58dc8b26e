"""Quality of recorded data: measures, a family a file, and the gate that holds them against limits."""
