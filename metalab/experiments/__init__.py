"""The work behind `python -m metalab`: training, testing and comparing algorithms outside the lessons."""
