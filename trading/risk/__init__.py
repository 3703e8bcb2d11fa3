"""Risk: limits that no order may break."""
