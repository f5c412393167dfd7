"""The methods, one folder per family, and what they share: features, design (what is asked) and estimation.

A method is one generator function with ``@method`` above it. It holds no model: it yields questions
(``xplain.core.query``) and returns a ``Reading``. To add one, write one file in its family's folder; the registry
imports every file of this package before it looks for a method, so nothing else needs to know.
"""
