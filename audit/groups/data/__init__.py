"""Versioned data of the audit: lexicons, the gazetteer, the reference population. Each file states source and date."""
