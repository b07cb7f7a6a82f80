"""Blocks of IQ2_XXS: points of a code book, signs and a step for every 32 weights."""
