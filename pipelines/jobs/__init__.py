"""One job a module; each reads parts, calls units of the filters floor and writes parts."""
