"""The code of the lesson on MAML's variants and the evidence for them: its exercises, figures and panel.

`measured_sine.json` and `measured_omniglot.json` are what `python -m metalab.experiments.variants` wrote.
"""
