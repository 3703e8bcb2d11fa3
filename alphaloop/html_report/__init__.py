"""HTML reports: the page and its charts, self-contained, without a script."""
