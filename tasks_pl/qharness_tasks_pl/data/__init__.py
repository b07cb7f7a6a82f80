"""Where the documents come from: the hub, or a folder of plain files."""
