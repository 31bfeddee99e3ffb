"""The code behind the notebooks: `kit` holds what all lessons share, and each lesson has a folder of its own.

Nothing else in metalab imports this package.
"""
