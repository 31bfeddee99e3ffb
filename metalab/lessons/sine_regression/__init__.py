"""The code of the sine lesson: its exercises with their solutions, and its figures and panels."""
