"""Models and encoders that come from elsewhere: pulled from the hub or a package index, imported from this machine."""
