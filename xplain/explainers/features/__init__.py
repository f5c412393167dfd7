"""What can be switched off: pixels grouped to superpixels, cells, channels, columns, words, stretches of time.

The first factor of every perturbation method. A maker, declared with ``@features``, takes the items and gives each of
their positions a feature number; the option ``features`` names one and its own options: ``"slic:50,compactness=20"``.
"""
