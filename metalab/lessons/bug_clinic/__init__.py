"""The code of the bug clinic: exercises in which broken learners are repaired."""
