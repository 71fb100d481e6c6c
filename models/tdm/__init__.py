"""Temporal difference models (Pong, Gu, Dalal, Levine, ICLR 2018, arXiv 1802.09081): how close to a goal can we be after tau more steps."""
