"""View models: what the templates print, made from a comparison by pure functions."""
