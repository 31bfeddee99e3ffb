"""The code of the characters lesson: its exercises with their solutions, and its figures, game and panels."""
