"""Which release of the project this is: tables say which one wrote them, and pyproject.toml takes it from here."""

RELEASE = "0.1.0"
