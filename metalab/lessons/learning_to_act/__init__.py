"""The code of the lesson on learning to act: its exercises with their solutions, and its figures."""
