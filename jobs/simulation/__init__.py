"""A simulated market with known demand: shoppers, rivals, stock, seasons, broken records. Pure and seeded.

Estimates learned from real shops cannot be checked against the truth; here they can. A
:class:`~jobs.simulation.market.Market` writes the same streams as a shop, shoppers respond to the prices that they
are shown, and :attr:`Market.truth` has the true demand.

A visit goes through ``seasons`` (how many visits), ``prices`` (the price shown), ``demand`` (whether the shopper
buys), ``stock`` (whether it is available) and ``record_writer`` (the records); ``world`` is the assortment.
``rivals`` move their prices, ``incidents`` are broken records.

To add a demand family: one class in ``demand.py`` and its name in ``FAMILIES``. To add a kind of broken record:
one line in ``incidents.DIRTY``; the tests of the contract, of the SQL and of the platform run over that list.
"""
