"""The logic of a chat without its drawing: state, jobs on a worker, events. No Textual here."""
