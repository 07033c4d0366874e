"""What a person can ask for by name, behind a slash: one file a group, the same in the app and in lines. No Textual."""
