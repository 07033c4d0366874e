"""PDF: the text layer of each page, in reading order."""
