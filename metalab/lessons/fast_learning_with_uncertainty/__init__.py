"""The code of the lesson on fast learning with uncertainty: its exercises, figures, panel and game.

`measured.json` is what `python -m metalab.experiments.uncertainty` wrote.
"""
