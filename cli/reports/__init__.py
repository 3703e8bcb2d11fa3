"""Reports of a run as one HTML page."""
