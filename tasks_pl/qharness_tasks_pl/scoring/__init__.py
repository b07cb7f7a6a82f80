"""Scorers that the YAML files name; each module serves one kind of answer."""
