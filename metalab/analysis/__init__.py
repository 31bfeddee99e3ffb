"""Is a meta-gradient of second order, and what does its Hessian term do? What adapts? How good is a threshold?

And what could nobody do better? That is the exact Bayesian answer, `sine_bayes`.
"""
