"""The map as one page that zooms: a template, a style and a script beside what fills them in."""
