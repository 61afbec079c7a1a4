"""Learning from recorded files in one pass, without Flink, Kafka or Redis: `walras learn`, `walras mapping init`.

Data flow of `walras learn`: files → :mod:`jobs.replay.mapped_data` (records and refusals) → the cell query in
DuckDB → :class:`history.History` (rows per listing, period, segment and price) → :mod:`learner` (the estimators of
features/elasticity, period by period as arrays) → :mod:`results` → JSON, Parquet and the HTML page.

===================  ==============================================================================
history.py           cells of the files as rows per listing and period, in a temporary DuckDB file
covariate_values.py  values of covariates at the cells' minutes
reference_prices.py  reference price and time out of stock of a listing at its cells' minutes
estimators.py        the only module that calls the estimators of features/elasticity
learner.py           the first pass: learns the periods
listing_rows.py      rows per listing and period
residuals.py         the second pass: facts of each listing, and the test of its price changes
optimal_price.py     the price of highest profit within the range of experience
results.py           results per product and category, with what is missing
files.py             JSON and Parquet
command.py           the whole run, with its errors
page                 the HTML page
proposals            proposed mappings
===================  ==============================================================================

Regressors are the own price, the reference price and the covariates that the policy names, columns of
``PeriodRows.x`` in learner.py.
"""
