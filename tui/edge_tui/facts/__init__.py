"""What the files of a model or an adapter tell, without their weights being loaded."""
