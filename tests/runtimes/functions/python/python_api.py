OURS = True
"""A function's module that has the name of one of the runtime's."""
