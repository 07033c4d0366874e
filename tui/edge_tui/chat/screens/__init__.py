"""Screens that stand above the conversation."""
