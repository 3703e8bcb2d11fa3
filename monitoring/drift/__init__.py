"""Feature drift: distances, thresholds and episodes; the only importer of Evidently."""
