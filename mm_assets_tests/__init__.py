"""The tests mirror the package; graph/ runs the whole, torture/ kills, races and breaks it, kit/ holds the helpers."""
