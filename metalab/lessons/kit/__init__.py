"""The tools that all lessons share: the set-up cell, figures, panels, steered training, exercises and characters."""
