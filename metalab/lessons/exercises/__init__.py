"""The lessons' exercises, one module a lesson: `from metalab.lessons.exercises import sine as exercises`."""
