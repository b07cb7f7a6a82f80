"""The tasks: rows with the official columns, and the exact prompt formats."""
