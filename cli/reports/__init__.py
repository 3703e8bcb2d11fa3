"""Reports of a run as one HTML page, from the documents that the demo writes."""
