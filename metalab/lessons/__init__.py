"""What only a notebook needs: plots, panels, live training, exercises. Nothing outside this package imports it."""
