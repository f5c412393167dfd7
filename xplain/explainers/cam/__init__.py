"""Class activation maps: a deep layer's channels, weighted and summed, enlarged to the picture.

All are one formula, ``map[p] = sum over k of w_k A_k[p]``, and differ in the weights: ``layers.py`` picks and shapes
the layer, each file says where its weights come from.
"""
