"""The screens over the conversation, one file each."""
