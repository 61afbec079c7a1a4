"""Joint decisions on the listings of a price group (science § 7, "Price groups").

:mod:`assessed_group` assesses the members, :mod:`group_strategy` chooses their strategy, :mod:`plan` decides for
all of them at once, :mod:`terms` is what they have in common, and :mod:`member` is one member's decision under
these terms.
"""
