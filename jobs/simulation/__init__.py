"""A market with known demand: shoppers, rivals, stock, seasons, incidents. Pure and seeded.

What is learned from real shops can never be checked against the truth; here it can. A
:class:`~jobs.simulation.market.Market` writes the same streams as a shop, shoppers answer to the
prices that are shown to them, and :attr:`Market.truth` says what really drives them.

The way of a visit: ``world`` (what is sold, to whom) → ``seasons`` (how many come) → ``prices``
(what they are shown) → ``demand`` (whether they buy) → ``stock`` (whether they can) → ``wire``
(the lines on the topics). ``rivals`` and ``incidents`` make life hard.

To add a family of demand: one class in ``demand.py`` and its name in ``FAMILIES``. To add a kind of
broken record: one line in ``incidents.DIRTY``; the tests of the contract, of the SQL and of the
platform all run over that list.
"""
