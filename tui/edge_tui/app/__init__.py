"""The Textual app behind `edge chat`: it draws what the session tells."""
