"""The engine room. Skip it on a first reading; README.md in this folder says what it is for."""
