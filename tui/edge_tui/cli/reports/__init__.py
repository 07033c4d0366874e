"""What commands print at length: facts of models and adapters, tables, plots and the page of a comparison."""
