"""Learning from recorded files in one pass, without Flink, Kafka or Redis: `walras learn`, `walras mapping init`.

Data flow of `walras learn`: files → :mod:`jobs.replay.mapped_data` (records and refusals) → the cell query in
DuckDB → :class:`history.History` (rows per listing, period, segment and price) → :mod:`learner` (the estimators of
features/elasticity, period by period as arrays) → :mod:`results` → JSON, Parquet, and the page of :mod:`report`.

====================  ==============================================================================
history.py            cells of the files as rows per listing and period, in a temporary DuckDB file
reference_prices.py   reference price and time out of stock of a listing at its cells' minutes
estimators.py         the only module that calls the estimators of features/elasticity
learner.py            learns the periods, then the residuals, and collects what is known of each listing
optimal_price.py      the price of highest profit within the range of experience
results.py            results per product and category, with what is missing
files.py              JSON and Parquet
charts.py, report.py  the HTML page
command.py            the whole run, with its errors
columns.py            roles of a file's columns, for a proposed mapping
proposal.py           the proposed mapping as YAML with questions
====================  ==============================================================================
"""
