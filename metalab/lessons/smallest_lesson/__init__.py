"""The code of the smallest lesson: its exercise with its solution, and its figure."""
