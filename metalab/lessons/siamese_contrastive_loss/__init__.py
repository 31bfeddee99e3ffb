"""The code of the Siamese lesson: its exercises with their solutions, and its figures and panels.

`neighbours` is a panel on which the reader draws a character and sees the drawings that are nearest to it.
"""
