"""What can be switched off: pixels grouped to superpixels, cells, channels, columns, words, stretches of time.

The first factor of every perturbation method. A maker takes the items and gives each of their positions a feature
number; the option ``features`` names a maker and its own options, such as ``"slic:50,compactness=20"``.
"""
