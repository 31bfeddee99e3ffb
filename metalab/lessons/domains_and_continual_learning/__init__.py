"""The code of the lesson on new domains and on learning that goes on: its exercises, solutions and pictures."""
