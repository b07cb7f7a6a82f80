"""Products of a few rows with a matrix of two bits a weight: what the codes share."""
