"""The code of the characters lesson: its exercises with their solutions, its figures, its game and its panels.

`measured.json` holds the results of `python -m benchmarks few-shot`, which the lesson shows.
"""
