"""The code of the lesson on learning to act: its exercises, figures and panels, on navigation and on bandits.

`measured.json` and `policies.safetensors` are what `python -m metalab.experiments.navigation` wrote, and `bandits.json`
and `recurrent_policies.safetensors` are what `python -m metalab.experiments.bandits` wrote.
"""
