"""One module an engine, all behind the protocol in base.py."""
