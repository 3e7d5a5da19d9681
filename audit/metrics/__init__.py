"""Metrics of the audit: pure functions of counts, one family a file. Each names the source of its formula."""
