"""The images that ``make images`` built, run by a real Docker: ``make images-test``."""
