"""The code of the lesson on new domains and on learning that goes on: its exercises, solutions and pictures.

`measured_domains.json` is what `python -m metalab.experiments.domains` wrote, and `measured_streams.json` what
`python -m metalab.experiments.continual` wrote.
"""
