"""The release of the project. Tables store the release that wrote them, and pyproject.toml reads it from here."""

RELEASE = "0.1.0"
