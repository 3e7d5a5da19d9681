"""The dashboard: pages and a JSON API over the runs below one folder. It reads, and never writes there."""
