"""The code of the lesson on learning to act: its exercises, figures and panel.

`measured.json` and `maml.safetensors` are what `python -m metalab.experiments.navigation` wrote.
"""
