"""The code of the lesson on learning to act: its exercises, figures and panel, on navigation and on bandits.

`measured.json` and `maml.safetensors` are what `python -m metalab.experiments.navigation` wrote, and the measurements
of the bandits are what `python -m metalab.experiments.bandits` wrote.
"""
