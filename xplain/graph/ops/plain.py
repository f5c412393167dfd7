"""Operators without a backward rule: random numbers, tests and indices, models of other kinds, and what is opened."""

from __future__ import annotations

from xplain.graph.operators import facts

facts("RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli", random=True, flat=True)
facts("Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor", flat=True, elementwise=True, axes="same")
facts("Not IsNaN IsInf", flat=True, elementwise=True, axes="same")
facts("BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot", flat=True, elementwise=True, axes="same")
facts("Floor Ceil Round", flat=True, elementwise=True, axes="same", rises=True)
facts("Sign", flat=True, elementwise=True, axes="same", rises=True, low=-1.0, high=1.0)
facts("ArgMax ArgMin", flat=True, axes="same", across="axes")
facts("Shape Size NonZero ConstantOfShape Range OneHot EyeLike Constant", flat=True)
facts("ConstantOfShape Range OneHot EyeLike", grows=True)
facts("NonMaxSuppression StringNormalizer Unique", flat=True)
facts("Constant", free=True)
facts("BiasGelu FastGelu QuickGelu", elementwise=True, axes="same")
facts("BiasGelu FastGelu Gelu QuickGelu FusedConv FusedGemm FusedMatMul TransposeMatMul", ageless=True)
facts("NhwcConv NhwcMaxPool SkipLayerNormalization", ageless=True)
facts("NhwcConv NhwcFusedConv NhwcMaxPool", last=True)
facts("SkipLayerNormalization SkipSimplifiedLayerNormalization SimplifiedLayerNormalization", axes="same")
facts("LSTM GRU RNN", recurrent=True, learnt=(1, 2, 3))
facts("Scaler LinearRegressor", linear="first")
facts("LinearClassifier", linear="first", classifier=True)
facts("TreeEnsembleClassifier SVMClassifier", classifier=True)
