"""Joint decisions on the listings of a price group (science § 7, "Price groups").

:mod:`plan` decides for all members at once, :mod:`terms` is what they have in common, and :mod:`member` is one
member's decision under these terms.
"""
