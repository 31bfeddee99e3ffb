"""The code of the lesson on MAML's two orders: its exercises with their solutions, and its figures and panels.

The lesson shows two files of results: `measured.json`, from `python -m metalab orders`, and `over_training.json`, from
`python -m metalab.experiments.order_over_training`.
"""
