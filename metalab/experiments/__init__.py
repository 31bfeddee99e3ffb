"""What `python -m metalab` does: train and evaluate outside the lessons, measure, and write the page of results."""
