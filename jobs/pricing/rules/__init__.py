"""Pricing rules: what a merchant wants done with prices, under which conditions and when (science § 7, "Rules").

A rule has a name, a priority, a validity, conditions and one action: choose the strategy, set a band, adjust the
strategy's price by a share, or hold the price. The policy's section ``rules`` lists them; patches set it by scope.

- :mod:`conditions`: the conditions of a rule and of a row of ``rule_table``, and what they are read against.
- :mod:`rule`: one rule.
- :mod:`section`: the policy's section, and what it refuses.
- :mod:`matching`: which rules hold for a decision's inputs, and which one wins.
- :mod:`turning`: when a rule's validity, hours, weekdays or age turn it on or off.
- :mod:`check`: conflicts, gaps, expired and shadowed rules of a section.

To add a condition, add its field to :class:`conditions.Conditions` and its value to
:class:`conditions.RuleFacts`, and fill the latter in ``matching.facts_of``. To add an action, add its member to
:class:`rule.ActionKind`, its field to :class:`rule.PricingRule`, and apply it where decisions read
:class:`matching.MatchedRules`.
"""
