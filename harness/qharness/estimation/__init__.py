"""How long a run takes and what it needs, told from counted tokens and measured rates."""
