"""The code of the lesson on MAML's two orders: its exercises with their solutions, and its figures and panels.

`measured.json` holds the results of `python -m metalab orders`, which the lesson shows.
"""
