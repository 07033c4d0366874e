"""What runs a model: the contract that every engine keeps, and what the engines share."""
