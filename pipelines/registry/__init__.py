"""The opt-out registry: append-only, dated, hash-chained; one SQLite file, or a PostgreSQL database."""

from pipelines.registry.store import Appended, Registry, Snapshot, create_registry, open_registry

__all__ = ["Appended", "Registry", "Snapshot", "create_registry", "open_registry"]
