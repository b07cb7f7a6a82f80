"""Morphology, lexicon, names and facts of the micro-world."""
