"""Zip archives of XML: Word documents, presentations, spreadsheets."""
