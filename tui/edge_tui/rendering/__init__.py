"""From answers to text and Markdown: sources, marks, formulas. No Textual here."""
