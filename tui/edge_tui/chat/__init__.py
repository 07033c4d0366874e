"""The terminal app behind `edge chat`: session.py holds the logic, app.py draws it."""
