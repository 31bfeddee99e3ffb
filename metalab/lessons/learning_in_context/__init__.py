"""The code of the lesson on learning in context: results, figures and panels, the exercises with their solutions."""
